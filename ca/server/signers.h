// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Makes certificates and has them logged, in groups: what is asked for while a group is on its way
// to the disk, or just after it, is the next group. So under load calls share a sync, and threads
// are woken once a group instead of once a call. A call that comes alone waits for nobody.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "ca/core/actions.h"
#include "ca/core/events.h"
#include "ca/keys/key_manager.h"
#include "ca/log/issuance_log.h"
#include "x509/leaf_template.h"

namespace linchpin::ca {

struct SignerParts {
  KeyManager& keys;
  IssuanceLog& log;
  const base::Clock& clock;
};

class Signers {
 public:
  static constexpr size_t kThreads = 2;
  // Certificates that are worth a group of their own, whatever the disk does.
  static constexpr size_t kPlenty = 64;
  // After a group, where several calls came at once, until as many are back: what callers gain who
  // come together, and lose at most.
  static constexpr absl::Duration kRest = absl::Milliseconds(5);

  // Told of each group, which is durable then, or of why it is not. From a signer's thread, whose
  // next group waits for its return.
  using Made = absl::AnyInvocable<void(std::vector<event::Issued>) const>;
  Signers(SignerParts parts, Made made) : parts_(parts), made_(std::move(made)) {}
  ~Signers() { Stop(); }

  void Start();
  void Add(action::SignAndLog asked);  // any thread; what is asked for at once is the core's bound
  void Stop();                         // returns when all that was asked for has been told

 private:
  struct Group {
    std::vector<event::Issued> issued;
    std::vector<v1::LogEntry> entries;  // of all
  };

  void Run();
  bool MayBegin() const;
  bool IsRested() const;
  std::vector<action::SignAndLog> Take();
  Group Sign(const std::vector<action::SignAndLog>& asked);
  void Append(Group group);
  absl::StatusOr<x509::LeafTemplate> TemplateOf(const x509::Certificate& issuer,
                                                const std::string& key_name);

  const SignerParts parts_;
  const Made made_;

  base::Mutex mutex_;
  base::CondVar wake_;
  base::CondVar rest_;
  std::deque<action::SignAndLog> waiting_;
  size_t certificates_ = 0;  // that wait
  size_t groups_ = 0;        // begun, until their rest is over
  size_t expected_ = 0;      // calls, by those of the groups before
  bool stopping_ = false;
  std::vector<std::thread> threads_;

  base::Mutex templates_mutex_;
  std::map<std::string, x509::LeafTemplate> templates_;  // of issuers that were used, by key name
};

}  // namespace linchpin::ca
