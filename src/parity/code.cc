#include "parity/code.h"

#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"

namespace braid {
namespace {

constexpr std::size_t kTableSize = 32;  // ISA-L's expanded form of one coefficient
constexpr std::size_t kAlignment = 32;  // of pointers and lengths, for ISA-L's xor_gen and pq_gen
constexpr std::size_t kMaxPlans = 256;  // kept before all are dropped
constexpr std::size_t kMaxCall = 1u << 30;

unsigned char* bytes(const std::byte* p) {
    return reinterpret_cast<unsigned char*>(const_cast<std::byte*>(p));
}

using Vectors = std::array<unsigned char*, kMaxWidth + kMaxParity>;

bool aligned(std::span<unsigned char* const> vectors, std::size_t length) {
    std::uintptr_t bits = length;
    for (const unsigned char* p : vectors) bits |= reinterpret_cast<std::uintptr_t>(p);
    return bits % kAlignment == 0;
}

// target = sources[0] ^ sources[1] ^ ...
void xor_all(std::span<unsigned char* const> sources, unsigned char* target, std::size_t length) {
    Vectors vectors;
    std::copy(sources.begin(), sources.end(), vectors.begin());
    vectors[sources.size()] = target;
    const std::size_t count = sources.size() + 1;
    if (sources.size() >= 2 && aligned({vectors.data(), count}, length)) {
        xor_gen(static_cast<int>(count), static_cast<int>(length), reinterpret_cast<void**>(vectors.data()));
        return;
    }
    std::memcpy(target, sources[0], length);
    for (std::size_t i = 1; i < sources.size(); ++i) {
        xor_into(reinterpret_cast<std::byte*>(target), reinterpret_cast<const std::byte*>(sources[i]),
                 length);
    }
}

}  // namespace

void xor_into(std::byte* target, const std::byte* source, std::size_t length) {
    // ISA-L reads a piece of all sources before it writes that piece, so the target may be one of them.
    std::array<unsigned char*, 3> vectors = {bytes(target), bytes(source), bytes(target)};
    if (length > 0 && length <= kMaxCall && aligned(vectors, length)) {
        xor_gen(3, static_cast<int>(length), reinterpret_cast<void**>(vectors.data()));
        return;
    }
    std::size_t at = 0;
    for (; at + 64 <= length; at += 64) {
        std::array<std::uint64_t, 8> a;
        std::array<std::uint64_t, 8> b;
        std::memcpy(a.data(), target + at, 64);
        std::memcpy(b.data(), source + at, 64);
        for (std::size_t i = 0; i < a.size(); ++i) a[i] ^= b[i];
        std::memcpy(target + at, a.data(), 64);
    }
    for (; at < length; ++at) target[at] ^= source[at];
}

Code::Code(unsigned k, unsigned m) : k_(k), m_(m), matrix_((k + m) * k), tables_(kTableSize * k * m) {
    ASSERT(k >= 1 && m <= kMaxParity && k + m <= kMaxWidth);
    gf_gen_rs_matrix(matrix_.data(), static_cast<int>(k + m), static_cast<int>(k));
    if (m > 0) ec_init_tables(static_cast<int>(k), static_cast<int>(m), &matrix_[k * k], tables_.data());
}

std::uint8_t Code::coefficient(unsigned parity, unsigned role) const {
    ASSERT(parity < m_ && role < k_);
    return matrix_[(k_ + parity) * k_ + role];
}

void Code::encode(std::span<const std::byte* const> data, std::span<std::byte* const> parity,
                  std::size_t length) const {
    ASSERT(data.size() == k_ && parity.size() == m_ && length <= kMaxCall);
    Vectors vectors;
    for (unsigned i = 0; i < k_; ++i) vectors[i] = bytes(data[i]);
    const std::span<unsigned char*> sources(vectors.data(), k_);
    unsigned from = 0;
    if (k_ == 1) {
        for (std::byte* copy : parity) {
            if (copy != nullptr) std::memcpy(copy, data[0], length);
        }
        return;
    }
    if (m_ == 2 && parity[0] != nullptr && parity[1] != nullptr) {
        vectors[k_] = bytes(parity[0]);
        vectors[k_ + 1] = bytes(parity[1]);
        if (aligned({vectors.data(), k_ + 2}, length)) {
            pq_gen(static_cast<int>(k_ + 2), static_cast<int>(length),
                   reinterpret_cast<void**>(vectors.data()));
            return;
        }
    }
    if (m_ >= 1 && (m_ == 1 || parity[1] == nullptr)) {
        if (parity[0] != nullptr) xor_all(sources, bytes(parity[0]), length);
        from = 1;
    }
    // Neighbouring wanted rows go together, so that the data is read once for them.
    while (from < m_) {
        std::array<unsigned char*, kMaxParity> rows{};
        unsigned count = 0;
        while (from + count < m_ && parity[from + count] != nullptr) {
            rows[count] = bytes(parity[from + count]);
            ++count;
        }
        if (count > 0) {
            ec_encode_data(static_cast<int>(length), static_cast<int>(k_), static_cast<int>(count),
                           const_cast<unsigned char*>(&tables_[kTableSize * k_ * from]), vectors.data(),
                           rows.data());
        }
        from += count + 1;
    }
}

void Code::update(unsigned role, const std::byte* delta, std::span<std::byte* const> parity,
                  std::size_t length) const {
    ASSERT(role < k_ && parity.size() == m_ && length <= kMaxCall);
    for (unsigned j = 0; j < m_; ++j) {
        if (parity[j] == nullptr) continue;
        if (coefficient(j, role) == 1) {
            xor_into(parity[j], delta, length);
            continue;
        }
        std::array<unsigned char*, kMaxParity> rows{};
        unsigned count = 0;
        while (j + count < m_ && parity[j + count] != nullptr) {
            rows[count] = bytes(parity[j + count]);
            ++count;
        }
        ec_encode_data_update(
            static_cast<int>(length), static_cast<int>(k_), static_cast<int>(count), static_cast<int>(role),
            const_cast<unsigned char*>(&tables_[kTableSize * k_ * j]), bytes(delta), rows.data());
        j += count;
    }
}

Code::Plan Code::make_plan(RoleMask sources, RoleMask wanted) const {
    Plan plan;
    std::vector<std::uint8_t> chosen;
    std::vector<std::uint8_t> inverse(std::size_t{k_} * k_);
    for (unsigned role = 0; role < width(); ++role) {
        if (wanted[role]) plan.targets.push_back(role);
        if (!sources[role]) continue;
        plan.sources.push_back(role);
        chosen.insert(chosen.end(), &matrix_[role * k_], &matrix_[role * k_] + k_);
    }
    // Any k rows are independent for m <= 3, so this cannot fail.
    ASSERT(gf_invert_matrix(chosen.data(), inverse.data(), static_cast<int>(k_)) == 0);
    // Row `target` of the code, in terms of the sources.
    std::vector<std::uint8_t> rows;
    for (unsigned target : plan.targets) {
        bool all_ones = true;
        for (unsigned column = 0; column < k_; ++column) {
            std::uint8_t sum = 0;
            for (unsigned i = 0; i < k_; ++i) {
                sum ^= gf_mul(matrix_[target * k_ + i], inverse[i * k_ + column]);
            }
            rows.push_back(sum);
            all_ones = all_ones && sum == 1;
        }
        plan.plain.push_back(all_ones);
    }
    plan.tables.resize(kTableSize * k_ * plan.targets.size());
    ec_init_tables(static_cast<int>(k_), static_cast<int>(plan.targets.size()), rows.data(),
                   plan.tables.data());
    return plan;
}

const Code::Plan& Code::plan(RoleMask sources, RoleMask wanted) const {
    const auto key = std::pair(sources.to_ulong(), wanted.to_ulong());
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    if (plans_.size() >= kMaxPlans) plans_.clear();
    return plans_.emplace(key, make_plan(sources, wanted)).first->second;
}

Status Code::decode(RoleMask present, std::span<std::byte* const> strips, RoleMask wanted,
                    std::size_t length) const {
    ASSERT(strips.size() == width() && (present & wanted).none() && length <= kMaxCall);
    ASSERT(((present | wanted) >> width()).none());
    if (wanted.none()) return {};
    RoleMask sources;
    for (unsigned role = 0; role < width() && sources.count() < k_; ++role) sources[role] = present[role];
    if (sources.count() < k_) return fail(Errc::offline);

    const Plan& how = plan(sources, wanted);
    Vectors from;
    for (unsigned i = 0; i < k_; ++i) from[i] = bytes(strips[how.sources[i]]);
    const std::span<unsigned char*> inputs(from.data(), k_);
    std::array<unsigned char*, kMaxWidth> targets;
    for (std::size_t i = 0; i < how.targets.size(); ++i) targets[i] = bytes(strips[how.targets[i]]);
    if (std::ranges::all_of(how.plain, [](bool plain) { return plain; })) {
        for (std::size_t i = 0; i < how.targets.size(); ++i) xor_all(inputs, targets[i], length);
        return {};
    }
    ec_encode_data(static_cast<int>(length), static_cast<int>(k_), static_cast<int>(how.targets.size()),
                   const_cast<unsigned char*>(how.tables.data()), from.data(), targets.data());
    return {};
}

}  // namespace braid
