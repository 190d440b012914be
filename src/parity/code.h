// The erasure code of a stripe: k data strips and m parity strips, any k of which give back all others.
// Parity 0 (P) is the XOR of the data, parity 1 (Q) is RAID 6's, parity 2 weights column j with 4^j: the rows
// of ISA-L's Vandermonde matrix, which for m <= 3 has no singular choice of k rows. With k = 1 every parity
// strip is a copy (mirror).
//
// A role is a strip's number in the code: 0 .. k-1 data, k .. k+m-1 parity. All functions are pure over the
// bytes they are given and work position by position, so they may be given any common part of the strips. Any
// alignment and any length are right; 32-byte alignment and multiples of 32 bytes are fast. One Code belongs
// to one thread (it keeps the matrices of past decodes).
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace braid {

/// A set of roles.
using RoleMask = std::bitset<kMaxWidth>;

class Code {
public:
    /// k >= 1, m <= 3, k + m <= 24.
    Code(unsigned k, unsigned m);

    unsigned k() const { return k_; }
    unsigned m() const { return m_; }
    unsigned width() const { return k_ + m_; }
    /// What parity strip `parity` (0 .. m-1) multiplies data strip `role` with.
    std::uint8_t coefficient(unsigned parity, unsigned role) const;

    /// Computes parity from all k data strips. `parity` has m entries; those that are null are not computed.
    void encode(std::span<const std::byte* const> data, std::span<std::byte* const> parity,
                std::size_t length) const;

    /// Adds a change of data strip `role` (`delta` = old XOR new) to the parity strips, in place. `parity`
    /// has m entries; those that are null are left out.
    void update(unsigned role, const std::byte* delta, std::span<std::byte* const> parity,
                std::size_t length) const;

    /// Computes the strips in `wanted`, data or parity, from those in `present`. `strips` has k + m entries
    /// by role; of the present ones only the first k are read, the wanted ones are written, the others may be
    /// null. No role is in both masks. offline if fewer than k are present.
    Status decode(RoleMask present, std::span<std::byte* const> strips, RoleMask wanted,
                  std::size_t length) const;

private:
    /// How to compute some roles from k others.
    struct Plan {
        std::vector<unsigned> sources;     ///< k roles
        std::vector<unsigned> targets;     ///< roles to compute
        std::vector<std::uint8_t> tables;  ///< ISA-L's, 32 bytes a coefficient, target by target
        std::vector<bool> plain;           ///< by target: all coefficients are 1
    };
    const Plan& plan(RoleMask sources, RoleMask wanted) const;
    Plan make_plan(RoleMask sources, RoleMask wanted) const;

    unsigned k_;
    unsigned m_;
    std::vector<std::uint8_t> matrix_;  ///< (k + m) rows of k coefficients
    std::vector<std::uint8_t> tables_;  ///< of the parity rows
    mutable std::map<std::pair<unsigned long, unsigned long>, Plan> plans_;
};

/// The codes in use, each made when it is asked for first.
class Codes {
public:
    const Code& of(unsigned k, unsigned m) const { return codes_.try_emplace({k, m}, k, m).first->second; }

private:
    mutable std::map<std::pair<unsigned, unsigned>, Code> codes_;
};

/// target ^= source.
void xor_into(std::byte* target, const std::byte* source, std::size_t length);

}  // namespace braid
