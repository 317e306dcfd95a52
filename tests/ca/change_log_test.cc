// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every change has its record, in the same commit, and every record its place in the chain.

#include "ca/core/change_log.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ca/core/operators.h"
#include "ca/core/record_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class ChangeLog : public ::testing::Test {
 protected:
  std::vector<ca::v1::Change> Changes() {
    std::vector<ca::v1::Change> changes;
    const ca::Store::Listing listing = *world.store.List(ca::kChangePrefix);
    for (const ca::Record& record : listing.records) {
      auto change = ca::ReadChange(record);
      EXPECT_OK(change);
      if (change.ok()) changes.push_back(*change);
    }
    return changes;
  }
  ca::v1::Change Last() {
    const auto changes = Changes();
    return changes.empty() ? ca::v1::Change() : changes.back();
  }
  absl::StatusOr<ca::v1::PolicyChange> Allow(const std::string& from, const std::string& to) {
    trust::v1::PeerRule rule;
    rule.set_from(Id(from));
    rule.set_to(Id(to));
    rule.set_outbound(true);
    rule.set_inbound(true);
    return world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule});
  }
  static absl::Status CheckAll(const std::vector<ca::v1::Change>& changes) {
    ca::ChangeChecker checker;
    for (const ca::v1::Change& change : changes) RETURN_IF_ERROR(checker.Check(change));
    return absl::OkStatus();
  }

  CoreWorld world;
};

TEST_F(ChangeLog, SaysWhoMadeWhatOfWhatAndWhen) {
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  const ca::v1::Change created = Last();
  EXPECT_EQ(created.index(), 1u);
  EXPECT_EQ(created.who(), "unix:root");
  EXPECT_EQ(created.role(), "admin");
  EXPECT_EQ(created.from(), "a test");
  EXPECT_EQ(created.method(), "CreateIdentity");
  EXPECT_EQ(created.changed_at(), absl::ToUnixSeconds(world.now));
  EXPECT_EQ(created.revision(), world.core->registry().revision());
  EXPECT_EQ(created.trust_epoch(), 0u);
  ASSERT_THAT(created.records(), SizeIs(1));
  EXPECT_THAT(created.records(0).object(), HasSubstr("identity spiffe://example.org/web"));
  EXPECT_EQ(created.records(0).before(), "");
  EXPECT_THAT(created.records(0).after(), HasSubstr("unix:uid:1000"));

  ca::v1::Identity changed = identity;
  changed.set_ttl_seconds(600);
  ASSERT_OK(world.Admin<ca::v1::Identity>(ca::UpdateIdentity{changed}));
  const ca::v1::ChangedRecord updated = Last().records(0);
  EXPECT_THAT(updated.after(), HasSubstr("\"ttl_seconds\":600"));
  EXPECT_THAT(updated.before(), Not(HasSubstr("unix:uid")));
  EXPECT_THAT(updated.after(), Not(HasSubstr("unix:uid"))) << "only what differs";

  ca::v1::DeleteIdentityRequest deletion;
  deletion.set_spiffe_id(Id("/web"));
  ASSERT_OK(world.Admin<ca::v1::Identity>(deletion));
  EXPECT_THAT(Last().records(0).before(), HasSubstr("\"ttl_seconds\":600"));
  EXPECT_EQ(Last().records(0).after(), "");
  EXPECT_OK(CheckAll(Changes()));
}

TEST_F(ChangeLog, HasNothingOfWhatChangedNothing) {
  ASSERT_OK(world.Register("/web"));
  ASSERT_OK(world.Register("/db"));
  ASSERT_OK(Allow("/web", "/db"));
  const size_t before = Changes().size();
  ASSERT_OK(Allow("/web", "/db"));  // is so already
  EXPECT_THAT(world.Admin<ca::v1::Node>(ca::BanNode{"nobody"}), StatusIs(StatusCode::kNotFound));
  ASSERT_OK(world.Admin<ca::v1::IdentityList>(ca::v1::ListIdentitiesRequest()));
  world.commit_fault = absl::ResourceExhaustedError("the disk is full");
  EXPECT_THAT(Allow("/db", "/web"), StatusIs(StatusCode::kResourceExhausted));
  EXPECT_THAT(Changes(), SizeIs(before));
  ASSERT_OK(Allow("/db", "/web"));
  EXPECT_THAT(Changes(), SizeIs(before + 1));
  EXPECT_OK(CheckAll(Changes()));
}

TEST_F(ChangeLog, GoesOnWhereItStoodAfterARestart) {
  ASSERT_OK(world.Register("/web"));
  world.Restart();
  ASSERT_OK(world.Register("/db"));
  ASSERT_THAT(Changes(), SizeIs(2));
  EXPECT_OK(CheckAll(Changes()));
  ASSERT_OK_AND_ASSIGN(const auto span,
                       world.Admin<ca::v1::ChangeSpan>(ca::v1::ReadChangesRequest()));
  EXPECT_EQ(span.first_index(), 1u);
  EXPECT_EQ(span.next_index(), 3u);
  EXPECT_EQ(span.head(), Last().hash());
}

TEST_F(ChangeLog, NeverHoldsAToken) {
  const std::string token = world.Token("a");
  const ca::Store::Listing listing = *world.store.List("");
  for (const ca::Record& record : listing.records) {
    EXPECT_FALSE(absl::StrContains(record.value, token)) << record.key;
  }
  EXPECT_EQ(Last().method(), "CreateJoinToken");
  ASSERT_THAT(Last().records(), SizeIs(2)) << "the node and the token";
  EXPECT_THAT(Last().records(1).object(), HasSubstr("token of "));
  EXPECT_THAT(Last().ShortDebugString(),
              Not(HasSubstr(absl::BytesToHexString(x509::Sha256(token)))));
}

TEST_F(ChangeLog, TellsSomeOfManyRecordsAndCountsTheOthers) {
  world.Token("a");
  for (int i = 0; i < 30; ++i) world.Token("a");
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"a"}));
  EXPECT_EQ(Last().method(), "ForgetNode");
  EXPECT_EQ(Last().records_size() + static_cast<int>(Last().more_records()), 33)
      << "the node, its tokens, and that it was forgotten";
  EXPECT_LE(Last().records_size(), ca::kMaxChangedRecords);
}

TEST_F(ChangeLog, CutsLongTexts) {
  state::v1::IdentityRecord record;
  record.mutable_identity()->set_hint(std::string(100'000, 'x'));
  const ca::v1::ChangedRecord changed = ca::DescribeChange("identity/a", nullptr, &record);
  EXPECT_LE(changed.after().size(), ca::kMaxRecordText);
  EXPECT_THAT(changed.after(), HasSubstr("of 100"));
}

TEST_F(ChangeLog, NoticesAnEditedAMissingAndAMovedRecord) {
  for (const char* path : {"/a", "/b", "/c", "/d"}) ASSERT_OK(world.Register(path));
  std::vector<ca::v1::Change> changes = Changes();
  ASSERT_OK(CheckAll(changes));
  ca::Record record = *world.store.Get(ca::ChangeKey(2));
  record.value.replace(record.value.find("/b"), 2, "/x");
  EXPECT_THAT(ca::ReadChange(record), StatusIs(StatusCode::kDataLoss, "change 2 was edited"));
  ca::Record moved = *world.store.Get(ca::ChangeKey(3));
  moved.key = ca::ChangeKey(2);
  EXPECT_THAT(ca::ReadChange(moved), StatusIs(StatusCode::kDataLoss));

  std::vector<ca::v1::Change> missing = changes;
  missing.erase(missing.begin() + 1);
  EXPECT_THAT(CheckAll(missing), StatusIs(StatusCode::kDataLoss, "change 2 is missing"));
  // Made anew with a right hash of its own: the next one tells.
  changes[1].set_hash(std::string(32, 'x'));
  EXPECT_THAT(CheckAll(changes), StatusIs(StatusCode::kDataLoss, "does not follow"));
}

TEST_F(ChangeLog, DropsTheOldestWhenThereAreTooMany) {
  ca::Registry registry = *ca::Registry::FromListing(*world.store.List(""));
  const ca::ChangedBy by{"unix:root", "admin", "here", "BanNode"};
  const auto add = [&](uint64_t index) {
    state::v1::ChangeRecord record;
    record.set_hash(std::string(32, 'h'));
    ASSERT_OK(registry.Apply({{ca::ChangeKey(index), record.SerializeAsString(), 0}}, index));
  };
  add(1);
  add(ca::kMaxChanges - 1);
  std::vector<ca::Write> batch = {{"node/a", std::nullopt, std::nullopt}};
  ca::AddChangeRecord(registry, by, world.now, &batch);
  EXPECT_THAT(batch, SizeIs(2)) << "there is room for one";
  add(ca::kMaxChanges);
  batch.resize(1);
  ca::AddChangeRecord(registry, by, world.now, &batch);
  ASSERT_THAT(batch, SizeIs(3));
  EXPECT_EQ(batch[2].key, ca::ChangeKey(1));
  EXPECT_FALSE(batch[2].value.has_value());
  ASSERT_OK(registry.Apply(batch, ca::kMaxChanges + 1));
  EXPECT_EQ(registry.changes().first, 2u);
  EXPECT_EQ(registry.changes().next, ca::kMaxChanges + 2);
}

TEST_F(ChangeLog, KnowsEveryKindOfRecord) {
  const auto* file = state::v1::ChangeRecord::descriptor()->file();
  for (int i = 0; i < file->message_type_count(); ++i) {
    const auto* message = file->message_type(i);
    if (!absl::EndsWith(message->name(), "Record") || message->name() == "IssuanceRecord" ||
        message->name() == "ChangeRecord") {
      continue;
    }
    bool known = false;
    for (const auto& [kind, prototype] : ca::RecordKinds()) {
      known = known || prototype->GetDescriptor() == message;
    }
    EXPECT_TRUE(known) << message->name() << " has no row in record_text.cc";
  }
}

TEST_F(ChangeLog, ShowsWhatWasThereBeforeOfEveryKind) {
  for (const auto& [kind, prototype] : ca::RecordKinds()) {
    if (kind == "meta" || kind == "trust" || kind == ca::kLogHeadKey) continue;  // whole keys
    ca::Registry registry = *ca::Registry::FromListing(*world.store.List(""));
    std::string key = absl::StrCat(kind, "x");
    std::string value;
    if (kind == "node/") {
      state::v1::NodeRecord record;
      record.set_node_id(Id("/linchpin/node/x"));
      value = record.SerializeAsString();
    } else if (kind == "identity/") {
      state::v1::IdentityRecord record;
      record.mutable_identity()->set_identity_id("x");
      value = record.SerializeAsString();
    } else if (kind == "policy/") {
      state::v1::PolicyRecord record;
      record.mutable_rule()->set_from("a");
      record.mutable_rule()->set_to("b");
      value = record.SerializeAsString();
      key = ca::PolicyKey("a", "b");
    }
    ASSERT_OK(registry.Apply({{key, value, 0}}, registry.revision() + 1));
    std::vector<ca::Write> batch = {{key, std::nullopt, registry.revision()}};
    ca::AddChangeRecord(registry, {"unix:root", "admin", "here", "X"}, world.now, &batch);
    ASSERT_OK_AND_ASSIGN(const auto change, ca::ReadChange({batch[1].key, *batch[1].value, 9}));
    EXPECT_THAT(change.records(0).before(), StartsWith("{")) << kind << " is not found by Held()";
  }
}

TEST_F(ChangeLog, ShowsSignedPinSetsAndHidesWhatIsNamedASecret) {
  trust::v1::PinSet set;
  set.set_version(7);
  set.set_expires_at(1'800'000'000);
  state::v1::TrustRecord record;
  record.add_pin_sets()->set_payload(set.SerializeAsString());
  const std::string text = ca::DescribeChange("trust", nullptr, &record).after();
  EXPECT_THAT(text, HasSubstr("\"version\":7"));
  EXPECT_THAT(text, HasSubstr("\"expires_at\":\"2027-01-15T08:00:00Z\""));
  ca::v1::JoinToken token;
  token.set_token("lpt_hidden");
  EXPECT_THAT(ca::DescribeChange("x", nullptr, &token).after(), Not(HasSubstr("hidden")));
}

TEST(Roles, AreGivenToEveryMethodOfTheService) {
  const auto* service = ca::v1::LogVerification::descriptor()->file()->service(0);
  ASSERT_EQ(service->name(), "AdminService");
  for (int i = 0; i < service->method_count(); ++i) {
    EXPECT_TRUE(ca::LeastRole(service->method(i)->name()).has_value())
        << service->method(i)->name() << " has no row in operators.cc";
  }
  EXPECT_FALSE(ca::LeastRole("Nonsense").has_value());
}

TEST(Roles, AnswerNobodyWhomNoAdaptorKnows) {
  CoreWorld world;
  world.asker = ca::Asker();
  EXPECT_THAT(world.Register("/web"), StatusIs(StatusCode::kUnauthenticated));
  EXPECT_THAT(world.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest()),
              StatusIs(StatusCode::kUnauthenticated));
}

}  // namespace
}  // namespace linchpin::test
