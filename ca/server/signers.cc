// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/signers.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace linchpin::ca {

void Signers::Start() {
  for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
}

void Signers::Stop() {
  base::MutexLock lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
  rest_.notify_all();
  lock.unlock();
  for (std::thread& thread : std::exchange(threads_, {})) thread.join();
}

void Signers::Add(action::SignAndLog asked) {
  base::MutexLock lock(mutex_);
  if (!stopping_) {
    certificates_ += asked.orders.size();
    waiting_.push_back(std::move(asked));
    if (MayBegin()) wake_.notify_one();
    if (IsRested()) rest_.notify_one();
    return;
  }
  lock.unlock();
  made_({{asked.ticket, absl::UnavailableError("the CA is shutting down; try again")}});
}

bool Signers::MayBegin() const {
  if (waiting_.empty()) return false;
  return groups_ == 0 || certificates_ >= kPlenty || stopping_;
}

bool Signers::IsRested() const {
  return waiting_.size() >= expected_ || certificates_ >= kPlenty || stopping_;
}

void Signers::Run() {
  base::MutexLock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return MayBegin() || stopping_; });
    if (waiting_.empty()) return;
    const std::vector<action::SignAndLog> asked = Take();
    ++groups_;
    lock.unlock();
    Append(Sign(asked));
    lock.lock();
    // Those who were answered and those who came meanwhile; who stays away is forgotten by and by.
    expected_ = std::max(asked.size() + waiting_.size(), expected_ / 2);
    if (expected_ > 1) {
      rest_.wait_for(lock, absl::ToChronoNanoseconds(kRest), [this] { return IsRested(); });
    }
    --groups_;
  }
}

std::vector<action::SignAndLog> Signers::Take() {
  std::vector<action::SignAndLog> taken;
  size_t certificates = 0;
  while (!waiting_.empty() && certificates < kPlenty) {
    certificates += waiting_.front().orders.size();
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  certificates_ -= certificates;
  return taken;
}

Signers::Group Signers::Sign(const std::vector<action::SignAndLog>& asked) {
  Group group;
  group.issued.reserve(asked.size());
  for (const action::SignAndLog& one : asked) {
    const auto sign = [&]() -> absl::StatusOr<MadeCertificates> {
      ASSIGN_OR_RETURN(const x509::LeafTemplate issuer, TemplateOf(one.issuer, one.key_name));
      ASSIGN_OR_RETURN(CertificatesMade made,
                       MakeCertificates(one.orders, issuer, parts_.clock.Now()));
      group.entries.insert(group.entries.end(), std::make_move_iterator(made.entries.begin()),
                           std::make_move_iterator(made.entries.end()));
      return std::move(made.certificates);
    };
    group.issued.push_back({one.ticket, sign()});
  }
  return group;
}

// Returns when the group has been told of.
void Signers::Append(Group group) {
  if (group.entries.empty()) return made_(std::move(group.issued));
  std::promise<absl::Status> durable;
  parts_.log.Append(std::move(group.entries),
                    [&durable](absl::Status status) { durable.set_value(std::move(status)); });
  const absl::Status status = durable.get_future().get();
  if (!status.ok()) {
    for (event::Issued& one : group.issued) one.certificates = status;
  }
  made_(std::move(group.issued));
}

absl::StatusOr<x509::LeafTemplate> Signers::TemplateOf(const x509::Certificate& issuer,
                                                       const std::string& key_name) {
  base::MutexLock lock(templates_mutex_);
  const auto it = templates_.find(key_name);
  if (it != templates_.end() && it->second.issuer() == issuer) return it->second;
  absl::StatusOr<x509::PrivateKey> key = parts_.keys.Open(key_name);
  if (!key.ok()) {
    return absl::Status(key.status().code() == absl::StatusCode::kNotFound
                            ? absl::StatusCode::kFailedPrecondition
                            : key.status().code(),
                        absl::StrCat("the issuer's key ", key_name,
                                     " cannot be used: ", std::string(key.status().message())));
  }
  absl::StatusOr<x509::LeafTemplate> made = x509::LeafTemplate::Make(issuer, *key);
  if (made.ok()) templates_.insert_or_assign(key_name, *made);
  return made;
}

}  // namespace linchpin::ca
