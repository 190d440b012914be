// The half of forward_client.h that does the work, beside one AMF and on its thread.
//
//   of an operation that changes something     enters by           leaves by
//   unknown                                     -                   a request
//   at work                                     a request           its end: done, or unknown if it was
//                                                                   refused. Asked again: nothing
//                                                                   In a new view: a refusal is told only if
//                                                                   it has been asked again, which is to come
//   done, with its status                       its end             the watermark, or its controller's end.
//                                                                   Asked again: answered again
//
// Reads and flushes are not remembered when they are done. What is unknown here and was asked of another AMF
// before, or refused in the middle, is begun with the question what of it has taken effect
// (replica/completions.h).
//
// Guarantees: what is asked twice by one start of a controller is done once, however late it is asked again;
// nothing is begun for who is not in the view, nor through a port that the tables do not know. Needs: the
// group outlives it or idle() has returned; adopt() before messages of that view. Bounded by what a client
// may have open (ForwardClient::kBudget, kSpan). Never looks at what is inside.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "amf/group_space.h"
#include "async/scope.h"
#include "forward/forward_frames.h"
#include "icl/view.h"

namespace braid {

/// A controller of the view, whatever groups it has attached.
struct ForwardCaller {
    ControllerId id;
    Incarnation incarnation;
    std::string name;
};

struct ForwardServed {
    std::uint64_t operations = 0, bytes = 0;
    std::uint64_t repeated = 0;  ///< questions about what was known already
    std::uint64_t refused = 0;
};

class ForwardServer {
public:
    /// Where a virtual disk lies in the group's space.
    struct Place {
        std::uint64_t begin = 0, size = 0;
    };
    /// not_ready: that controller has no port of it, as far as is known here.
    using Find = std::function<Result<Place>(std::string_view controller, VolumeId volume)>;

    ForwardServer(Executor& executor, GroupSpace& space, Transport& transport, const Uuid& group, Find find);

    void adopt(std::vector<ForwardCaller> callers);
    void deliver(AmfId from, const Message& message);
    /// Refuses everything from now on.
    void close() { closed_ = true; }
    /// Returns when nothing is at work.
    Task<Status> idle();
    /// Returns when nothing is at work that came through this port, of whichever start of its controller.
    Task<Status> drained(std::string controller, VolumeId volume);
    /// Something of this start of a controller is at work, or may still come.
    bool serves(ControllerId id, Incarnation incarnation) const;

    const ForwardServed& counters() const { return counters_; }

private:
    bool alive(const ControllerStart& who) const;
    struct Work {
        std::string controller;
        VolumeId volume;
        ControllerStart who;
        friend auto operator<=>(const Work&, const Work&) = default;
    };
    struct Memory {
        std::uint64_t watermark = 0;
        struct Entry {
            bool asked = true;  ///< in this view
            bool done = false;
            Status status;
        };
        std::map<std::uint64_t, Entry> entries;  ///< by number
    };
    Task<void> work(Work what, ForwardRequest request, Place place);
    Task<Status> perform(ControllerStart who, const ForwardRequest& request, Place place, Slice& read);
    void end(const ControllerStart& who, const ForwardRequest& request, ForwardReply reply);
    void reply(ControllerId to, ForwardReply reply);

    GroupSpace& space_;
    Transport& transport_;
    Uuid group_;
    Find find_;
    std::vector<ForwardCaller> callers_;
    std::map<ControllerStart, Memory> memories_;
    std::map<Work, std::size_t> at_work_;
    bool closed_ = false;
    Event ended_;
    ForwardServed counters_;
    Scope scope_;
};

}  // namespace braid
