// Two ByteStreams joined in memory: the bus between AMFs of one executor, and what unit tests talk through.
// Bytes come out in order; a write ends when all its bytes are in the pipe, which holds at most `capacity` a
// direction, so a reader that stops holds its writer back. Destroying an end is an orderly end for the other.
// Not between threads.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "io/stream.h"

namespace braid {

struct PipeEnds {
    std::unique_ptr<ByteStream> a, b;
};

PipeEnds make_pipe(std::string name = "pipe", std::size_t capacity = 256u << 10);

}  // namespace braid
