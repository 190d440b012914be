#include "parity/code.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

#include "base/prng.h"

namespace braid {
namespace {

// GF(256) with x^8 + x^4 + x^3 + x^2 + 1, bit by bit: shares nothing with the code under test.
std::uint8_t multiply(std::uint8_t a, std::uint8_t b) {
    unsigned product = 0;
    unsigned shifted = a;
    for (unsigned bit = 0; bit < 8; ++bit) {
        if ((b >> bit) & 1) product ^= shifted;
        shifted <<= 1;
        if (shifted & 0x100) shifted ^= 0x11d;
    }
    return static_cast<std::uint8_t>(product);
}

std::uint8_t weight(unsigned parity, unsigned role) {
    const std::uint8_t base = static_cast<std::uint8_t>(1u << parity);
    std::uint8_t result = 1;
    for (unsigned i = 0; i < role; ++i) result = multiply(result, base);
    return result;
}

// The strips of one stripe in memory that is aligned, plus `shift` bytes.
class Stripe {
public:
    Stripe(unsigned k, unsigned m, std::size_t length, std::uint64_t seed, std::size_t shift = 0)
        : length_(length), memory_((k + m) * pitch() + 64) {
        const auto base = reinterpret_cast<std::uintptr_t>(memory_.data());
        std::byte* first = memory_.data() + (64 - base % 64) % 64 + shift;
        for (unsigned role = 0; role < k + m; ++role) strips_.push_back(first + role * pitch());
        Prng prng(seed);
        for (unsigned role = 0; role < k; ++role) {
            for (std::size_t i = 0; i < length; ++i) strips_[role][i] = static_cast<std::byte>(prng.next());
        }
        for (unsigned j = 0; j < m; ++j) {
            for (std::size_t i = 0; i < length; ++i) {
                std::uint8_t sum = 0;
                for (unsigned role = 0; role < k; ++role) {
                    sum ^= multiply(weight(j, role), std::to_integer<std::uint8_t>(strips_[role][i]));
                }
                strips_[k + j][i] = static_cast<std::byte>(sum);
            }
        }
    }

    std::vector<std::byte*>& strips() { return strips_; }
    std::vector<std::byte> strip(unsigned role) const { return {strips_[role], strips_[role] + length_}; }
    void spoil(unsigned role) { std::fill_n(strips_[role], length_, std::byte{0xEE}); }
    // The byte after a strip is nobody's: nothing may write it.
    std::byte guard(unsigned role) const { return strips_[role][length_]; }

private:
    std::size_t pitch() const { return (length_ + 64 + 63) / 64 * 64; }
    std::size_t length_;
    std::vector<std::byte> memory_;
    std::vector<std::byte*> strips_;
};

void expect_encodes(unsigned k, unsigned m, std::size_t length, std::size_t shift) {
    const Code code(k, m);
    const Stripe truth(k, m, length, length + k, shift);
    for (unsigned wanted = 0; wanted < (1u << m); ++wanted) {
        Stripe stripe(k, m, length, length + k, shift);
        std::vector<std::byte*> parity(m, nullptr);
        for (unsigned j = 0; j < m; ++j) {
            stripe.spoil(k + j);
            if ((wanted >> j) & 1) parity[j] = stripe.strips()[k + j];
        }
        const std::vector<const std::byte*> data(stripe.strips().begin(), stripe.strips().begin() + k);
        code.encode(data, parity, length);
        for (unsigned j = 0; j < m; ++j) {
            const bool computed = stripe.strip(k + j) == truth.strip(k + j);
            const bool untouched = stripe.strip(k + j) == std::vector(length, std::byte{0xEE});
            ASSERT_TRUE((wanted >> j) & 1 ? computed : untouched)
                << "k=" << k << " m=" << m << " wanted=" << wanted << " length=" << length << " parity " << j;
            ASSERT_EQ(stripe.guard(k + j), std::byte{0});
        }
    }
}

// Takes away `lost`, decodes all of it at once, and each of it alone.
void expect_decodes(const Code& code, RoleMask lost, std::size_t length, std::size_t shift) {
    const unsigned width = code.width();
    const Stripe truth(code.k(), code.m(), length, 7, shift);
    RoleMask present;
    for (unsigned role = 0; role < width; ++role) present[role] = !lost[role];
    for (unsigned only = 0; only <= width; ++only) {
        RoleMask wanted = lost;
        if (only < width) {
            if (!lost[only]) continue;
            wanted = RoleMask().set(only);
        }
        Stripe stripe(code.k(), code.m(), length, 7, shift);
        auto strips = stripe.strips();
        for (unsigned role = 0; role < width; ++role) {
            if (lost[role]) stripe.spoil(role);
            if (lost[role] && !wanted[role]) strips[role] = nullptr;
        }
        ASSERT_TRUE(code.decode(present, strips, wanted, length));
        for (unsigned role = 0; role < width; ++role) {
            if (wanted[role]) {
                ASSERT_EQ(stripe.strip(role), truth.strip(role)) << lost << " role " << role;
                ASSERT_EQ(stripe.guard(role), std::byte{0});
            }
        }
    }
}

RoleMask random_loss(Prng& prng, unsigned width, unsigned count) {
    RoleMask lost;
    while (lost.count() < count) lost.set(prng.below(width));
    return lost;
}

}  // namespace

TEST(Code, HasThePublishedRaid6Coefficients) {
    const Code code(8, 3);
    EXPECT_EQ(code.coefficient(0, 7), 1);
    EXPECT_EQ(code.coefficient(1, 7), 0x80);
    EXPECT_EQ(code.coefficient(2, 4), 0x1d);  // 4^4 = x^8
    for (unsigned j = 0; j < 3; ++j) {
        for (unsigned role = 0; role < 8; ++role) EXPECT_EQ(code.coefficient(j, role), weight(j, role));
    }
}

TEST(Code, EncodesEverySubsetOfParitiesAsTheReferenceDoes) {
    for (unsigned m = 0; m <= 3; ++m) {
        for (unsigned k : {1u, 2u, 3u, 4u, 8u, 21u}) {
            expect_encodes(k, m, 512, 0);
            expect_encodes(k, m, 97, 0);
            expect_encodes(k, m, 256, 5);
        }
    }
}

TEST(Code, DecodesEveryErasurePatternOfSmallCodes) {
    for (unsigned m = 1; m <= 3; ++m) {
        for (unsigned k = 1; k <= 6; ++k) {
            const Code code(k, m);
            for (unsigned long lost = 1; lost < (1ul << (k + m)); ++lost) {
                if (RoleMask(lost).count() <= m) expect_decodes(code, RoleMask(lost), 96, 0);
            }
        }
    }
}

TEST(Code, DecodesEveryLossOfThreeFromTheWidestGroup) {
    const Code code(21, 3);
    const Stripe truth(21, 3, 32, 7);
    Stripe stripe(21, 3, 32, 7);
    for (unsigned a = 0; a < 24; ++a) {
        for (unsigned b = a + 1; b < 24; ++b) {
            for (unsigned c = b + 1; c < 24; ++c) {
                const RoleMask lost = RoleMask().set(a).set(b).set(c);
                for (unsigned role : {a, b, c}) stripe.spoil(role);
                ASSERT_TRUE(code.decode(~lost, stripe.strips(), lost, 32));
                for (unsigned role : {a, b, c}) ASSERT_EQ(stripe.strip(role), truth.strip(role)) << lost;
            }
        }
    }
}

TEST(Code, RefusesToDecodeFromFewerThanK) {
    const Code code(4, 2);
    Stripe stripe(4, 2, 64, 1);
    const auto before = stripe.strip(0);
    const Status status = code.decode(RoleMask(0b001110), stripe.strips(), RoleMask(0b000001), 64);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errc::offline);
    EXPECT_EQ(stripe.strip(0), before);
}

TEST(Code, IgnoresPresentStripsThatItDoesNotNeed) {
    const Code code(3, 2);
    const Stripe truth(3, 2, 64, 3);
    Stripe stripe(3, 2, 64, 3);
    auto strips = stripe.strips();
    stripe.spoil(4);
    strips[3] = nullptr;
    ASSERT_TRUE(code.decode(RoleMask(0b01111), strips, RoleMask(0b10000), 64));
    EXPECT_EQ(stripe.strip(4), truth.strip(4));
}

TEST(CodeProperty, AnUpdateEqualsEncodingAnew) {
    EXPECT_TRUE(rc::check("read-modify-write gives the parity of the new data", [] {
        const unsigned m = *rc::gen::inRange(1u, 4u);
        const unsigned k = *rc::gen::inRange(1u, 25u - m);
        const unsigned role = *rc::gen::inRange(0u, k);
        const auto length = *rc::gen::inRange<std::size_t>(1, 600);
        const auto shift = *rc::gen::inRange<std::size_t>(0, 33);
        const auto seed = *rc::gen::arbitrary<std::uint64_t>();
        const unsigned wanted = *rc::gen::inRange(0u, 1u << m);
        const Code code(k, m);
        const Stripe before(k, m, length, seed, shift);
        Stripe after(k, m, length, seed, shift);
        Prng prng(seed + 1);
        std::vector<std::byte> delta(length);
        for (std::size_t i = 0; i < length; ++i) {
            delta[i] = static_cast<std::byte>(prng.next());
            after.strips()[role][i] ^= delta[i];
        }
        std::vector<std::byte*> parity(m, nullptr);
        for (unsigned j = 0; j < m; ++j) {
            if ((wanted >> j) & 1) parity[j] = after.strips()[k + j];
        }
        code.update(role, delta.data(), parity, length);
        for (unsigned j = 0; j < m; ++j) {
            for (std::size_t i = 0; i < length; ++i) {
                const auto old = std::to_integer<std::uint8_t>(before.strip(k + j)[i]);
                const auto change = multiply(weight(j, role), std::to_integer<std::uint8_t>(delta[i]));
                const auto expected = (wanted >> j) & 1 ? old ^ change : old;
                RC_ASSERT(std::to_integer<int>(after.strips()[k + j][i]) == expected);
            }
            RC_ASSERT(after.guard(k + j) == std::byte{0});
        }
    }));
}

TEST(CodeProperty, AnyLossUpToMIsDecodedAtAnyLengthAndAlignment) {
    EXPECT_TRUE(rc::check("decode gives back what was lost", [] {
        const unsigned m = *rc::gen::inRange(1u, 4u);
        const unsigned k = *rc::gen::inRange(1u, 25u - m);
        const Code code(k, m);
        Prng prng(*rc::gen::arbitrary<std::uint64_t>());
        const RoleMask lost = random_loss(prng, k + m, *rc::gen::inRange(1u, m + 1));
        expect_decodes(code, lost, *rc::gen::inRange<std::size_t>(1, 300),
                       *rc::gen::inRange<std::size_t>(0, 33));
        RC_ASSERT(!testing::Test::HasFatalFailure());
    }));
}

TEST(Code, StaysRightWhenItsPlansOverflow) {
    const Code code(12, 3);
    Prng prng(11);
    for (unsigned round = 0; round < 700; ++round) expect_decodes(code, random_loss(prng, 15, 3), 32, 0);
}

}  // namespace braid
