// Broken invariants end the process, in every build: the peers take over, and nothing runs on wrong state.
#pragma once

namespace braid {

/// Prints the condition and the last log events of this thread, then aborts.
[[noreturn]] void assert_failed(const char* condition, const char* file, int line);

}  // namespace braid

#define ASSERT(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : ::braid::assert_failed(#condition, __FILE__, __LINE__))
