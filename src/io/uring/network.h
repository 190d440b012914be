// TCP and UNIX sockets. "HOST:PORT", "[V6]:PORT", "unix:PATH". Host names are looked up with a blocking call:
// use numbers where that matters. Streams have TCP_NODELAY, and
// end when the far end has been gone for two minutes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/stream.h"
#include "io/uring/loop.h"

namespace braid {

class UringNetwork final : public Network {
public:
    explicit UringNetwork(Loop& loop) : loop_(loop) {}
    /// refused (nobody listens), invalid (no such address), timeout, io_error.
    Task<Result<std::unique_ptr<ByteStream>>> connect(std::string address) override;
    /// exists (somebody listens there), invalid, refused (permissions), io_error. A UNIX socket file that a
    /// dead process left behind is replaced; the listener removes its own at close(). One accept() at a time.
    Result<std::unique_ptr<Listener>> listen(std::string_view address) override;
    std::unique_ptr<ByteStream> take(std::unique_ptr<LooseStream> loose) override;

private:
    Loop& loop_;
};

}  // namespace braid
