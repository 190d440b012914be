// What the tests of this folder share: both engines, and a directory that goes away.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "io/uring/loop.h"

namespace braid {

using EngineKind = LoopOptions::EngineKind;

class TemporaryDirectory {
public:
    explicit TemporaryDirectory(const char* parent = nullptr) {
        std::string name =
            std::string(parent != nullptr ? parent : ::testing::TempDir()) + "/braid-io-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no directory in " << name;
        path_ = name;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Each test runs over both engines.
class EngineTest : public ::testing::TestWithParam<EngineKind> {
protected:
    Loop loop{LoopOptions{.engine = GetParam()}};
};

inline std::string engine_label(const ::testing::TestParamInfo<EngineKind>& info) {
    return info.param == EngineKind::uring ? "uring" : "threads";
}

}  // namespace braid

#define FOR_BOTH_ENGINES(suite)                                                                         \
    INSTANTIATE_TEST_SUITE_P(Engines, suite, ::testing::Values(EngineKind::uring, EngineKind::threads), \
                             engine_label)
