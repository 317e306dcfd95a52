// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// PinSet objects: signed documents that the cluster carries to the CA, which publishes them as
// `linchpin pins publish` does. Who may write such an object may publish what the signers signed,
// and nothing else.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "ca/kubernetes/standings.h"
#include "kube/watch.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::ca {

// spec.document: the text of the file that `linchpin pins sign` makes. What it shows to people is
// not looked at: only what is signed counts. INVALID_ARGUMENT names what is wrong. Pure.
absl::StatusOr<trust::v1::SignedPinSet> ReadPinSetObject(const kube::Json& object);

class PinSetObjects final : public kube::WatchSink {
 public:
  // The answer comes once, from any thread, with the version that is in force then.
  using Published = std::function<void(const absl::Status&, uint64_t version)>;
  using Publish = std::function<void(trust::v1::SignedPinSet, Published)>;

  // Both references outlive this object.
  PinSetObjects(kube::Api& api, StandingWriter& standings, Publish publish);
  ~PinSetObjects() override;

  void ListBegins() override {}
  void Put(const kube::Json& object) override;
  void ListEnds() override {}
  void Remove(const kube::Json& object) override;
  void Failed(const absl::Status& why) override;

 private:
  // Answers may come when this is no more.
  struct Gate {
    base::Mutex mutex;
    PinSetObjects* objects = nullptr;
  };
  void Answered(const std::string& uid, int64_t generation, const absl::Status& status,
                uint64_t version);
  void TellStandings();

  StandingWriter& standings_;
  const Publish publish_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  bool told_ = false;  // of a failure; the watch's thread alone
  base::Mutex mutex_;
  std::map<std::string, Standing> known_;  // by uid
  std::optional<kube::Watch> watch_;
};

}  // namespace linchpin::ca
