// One line an event, as logfmt: time, level, event, key=value fields. The process installs a sink; without
// one only the ring of last events is kept, which ASSERT prints. Never pass payload bytes or keys.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/strong.h"

namespace braid {

enum class LogLevel : std::uint8_t { debug, info, warn, error };

struct LogField {
    std::string_view key;
    std::string value;

    LogField(std::string_view k, std::string_view text) : key(k), value(text) {}
    template <class T>
        requires std::is_integral_v<T>
    LogField(std::string_view k, T number) : key(k), value(std::to_string(number)) {}
    template <class Tag, class Rep>
    LogField(std::string_view k, Strong<Tag, Rep> id) : key(k), value(std::to_string(id.v)) {}
};

/// `text` is "event key=value ...", values quoted where they need it.
using LogSink = std::function<void(LogLevel level, std::string_view text)>;

/// Called once at start, before other threads exist. An empty sink silences the log.
void set_log_sink(LogSink sink);
void set_log_level(LogLevel lowest);
/// logfmt on stderr with RFC 3339 UTC times: `2026-11-21T02:21:38.114Z warn disk.failed disk=d4`.
LogSink stderr_log_sink();

bool log_enabled(LogLevel level);
void log_event(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
/// The last events of this thread, oldest first, one a line.
std::string last_events();

}  // namespace braid

#define LOG_DEBUG(event, ...)                                                   \
    do {                                                                        \
        if (::braid::log_enabled(::braid::LogLevel::debug))                     \
            ::braid::log_event(::braid::LogLevel::debug, event, {__VA_ARGS__}); \
    } while (false)
#define LOG_INFO(event, ...) ::braid::log_event(::braid::LogLevel::info, event, {__VA_ARGS__})
#define LOG_WARN(event, ...) ::braid::log_event(::braid::LogLevel::warn, event, {__VA_ARGS__})
#define LOG_ERROR(event, ...) ::braid::log_event(::braid::LogLevel::error, event, {__VA_ARGS__})
