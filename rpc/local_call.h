// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One gRPC call over the local socket, as the service sees it that answers it: who calls, with
// which metadata; messages, and an end, that may be given from any thread.
#pragma once

#include <google/protobuf/message_lite.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "rpc/call_mailbox.h"
#include "rpc/unix_peer.h"

namespace linchpin::rpc {

// What becomes of a call. Called in the server's thread, one at a time, never from within a method
// of LocalCall, so that locks may be held there; must not wait for anybody.
class CallEvents {
 public:
  virtual ~CallEvents() = default;
  // The answer to a Read().
  virtual void OnMessage(absl::string_view) {}
  virtual void OnSilence() {}  // likewise: the caller has said its last, and may still listen
  // The message that was being written has been taken by the connection; the one that waited is
  // being written now.
  virtual void OnWritten() {}
  // Nothing of the call follows. `gave_up`: its end was not sent, for the caller has gone, has
  // cancelled the call, or its deadline has passed.
  virtual void OnDone(bool gave_up) = 0;
};

// Of a caller who does not read, one message is held that is being written and one that waits. Any
// thread.
class LocalCall {
 public:
  using Message = std::shared_ptr<const google::protobuf::MessageLite>;
  using Metadata = std::vector<std::pair<std::string, std::string>>;  // names in lower case

  LocalCall(std::shared_ptr<const UnixPeer> peer, Metadata metadata, CallKey key,
            std::shared_ptr<CallMailbox> mailbox)
      : peer_(std::move(peer)),
        metadata_(std::move(metadata)),
        key_(key),
        mailbox_(std::move(mailbox)) {}
  LocalCall(const LocalCall&) = delete;

  const std::shared_ptr<const UnixPeer>& peer() const { return peer_; }
  // The values of this name, in the order in which they were sent.
  std::vector<absl::string_view> ValuesOf(absl::string_view name) const;

  // Once, before the function returns that was given this call. Kept until OnDone().
  void Follow(std::shared_ptr<CallEvents> events) { events_ = std::move(events); }

  // Each message replaces one that waits.
  void Write(Message message);
  // After a message that is being written, and instead of one that waits. The first end counts.
  void Finish(const absl::Status& status);
  // Asks for one message more, of a dialogue.
  void Read();

 private:
  friend class Http2Session;

  // Of the server's thread.
  struct Orders {
    Message message;                  // to be written, until Written()
    std::optional<absl::Status> end;  // if no message is to be written
    bool read = false;
  };
  Orders TakeOrders();
  void Written();
  void Over(bool gave_up);

  void Tell(base::MutexLock& lock);

  const std::shared_ptr<const UnixPeer> peer_;
  const Metadata metadata_;
  const CallKey key_;
  const std::shared_ptr<CallMailbox> mailbox_;
  std::shared_ptr<CallEvents> events_;  // of the server's thread

  base::Mutex mutex_;
  Message writing_;
  Message waiting_;
  std::optional<absl::Status> end_;
  bool reads_ = false;
  bool told_ = false;  // the server, and it has not looked yet
  bool over_ = false;
};

using CallPtr = std::shared_ptr<LocalCall>;

}  // namespace linchpin::rpc
