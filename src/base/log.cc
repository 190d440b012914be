#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/assert.h"

namespace braid {
namespace {

LogSink g_sink;
LogLevel g_lowest = LogLevel::info;

struct Ring {
    std::array<std::string, 64> lines;
    std::size_t next = 0;
};
thread_local Ring t_ring;

bool needs_quotes(std::string_view text) {
    return text.empty() || text.find_first_of(" \"=\n\t\\") != std::string_view::npos;
}

void append_value(std::string& out, std::string_view text) {
    if (!needs_quotes(text)) {
        out += text;
        return;
    }
    out += '"';
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace

void set_log_sink(LogSink sink) { g_sink = std::move(sink); }
void set_log_level(LogLevel lowest) { g_lowest = lowest; }
bool log_enabled(LogLevel level) { return level >= g_lowest && (g_sink || level >= LogLevel::info); }

LogSink stderr_log_sink() {
    auto logger = spdlog::stderr_logger_mt("braid");
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
    return [logger](LogLevel level, std::string_view text) {
        static constexpr std::array<std::string_view, 4> names = {"debug", "info", "warn", "error"};
        logger->info("{} {}", names[static_cast<std::size_t>(level)], text);
    };
}

void log_event(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
    if (level < g_lowest) return;
    std::string& line = t_ring.lines[t_ring.next++ % t_ring.lines.size()];
    line.assign(event);
    for (const LogField& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value);
    }
    if (g_sink) g_sink(level, line);
}

std::string last_events() {
    std::string out;
    const std::size_t size = t_ring.lines.size();
    const std::size_t first = t_ring.next < size ? 0 : t_ring.next - size;
    for (std::size_t i = first; i < t_ring.next; ++i) {
        out += t_ring.lines[i % size];
        out += '\n';
    }
    return out;
}

void assert_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: broken invariant: %s\nlast events:\n%s", file, line, condition,
                 last_events().c_str());
    std::fflush(stderr);
    std::abort();
}

}  // namespace braid
