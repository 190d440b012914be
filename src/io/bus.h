// The bus: a Network inside one process, between what runs on one executor (AMFs of one controller,
// controllers of one test). Addresses are any names. A connection is a pipe, so the same links, frames and
// epochs run over it as over sockets.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/pipe.h"
#include "io/stream.h"

namespace braid {

class Bus final : public Network {
public:
    explicit Bus(Executor& executor) : executor_(executor) {}
    /// `refused` where nobody listens.
    Task<Result<std::unique_ptr<ByteStream>>> connect(std::string address) override;
    /// `exists` if somebody listens there. The bus outlives its listeners.
    Result<std::unique_ptr<Listener>> listen(std::string_view address) override;

    std::size_t capacity = 256u << 10;  ///< bytes a direction, of connections made from now on

private:
    struct Door;
    class BusListener;
    Executor& executor_;
    std::map<std::string, std::shared_ptr<Door>, std::less<>> doors_;
};

}  // namespace braid
