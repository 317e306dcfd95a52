// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/config_file.h"

#include "base/durable_file.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/node.pb.h"
#include "linchpin/config/v1/config.pb.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::IsOkAndHolds;
using ::linchpin::test::StatusIs;

absl::Status Load(const std::string& yaml) {
  config::v1::CaConfig config;
  return LoadConfigText(yaml, "ca.yaml", &config);
}

absl::Status LoadAgent(const std::string& yaml) {
  config::v1::AgentConfig config;
  return LoadConfigText(yaml, "agent.yaml", &config);
}

TEST(ConfigFile, FillsTheMessage) {
  config::v1::CaConfig ca;
  ASSERT_OK(
      LoadConfigText("# a comment\n"
                     "data_dir: /var/lib/linchpin\n"
                     "trust_domain: 'example.org'\n"
                     "authority:\n"
                     "  root: external\n"
                     "  leaf_ttl: 90s\n",
                     "ca.yaml", &ca));
  EXPECT_EQ(ca.data_dir(), "/var/lib/linchpin");
  EXPECT_EQ(ca.trust_domain(), "example.org");
  EXPECT_EQ(ca.authority().root(), "external");
  EXPECT_EQ(ca.authority().leaf_ttl(), "90s");
}

TEST(ConfigFile, FillsListsAndBooleans) {
  config::v1::AgentConfig agent;
  ASSERT_OK(LoadConfigText("ca_pin: [sha256:AA, \"sha256:BB\"]\nrenewal_off: true\n", "a", &agent));
  ASSERT_EQ(agent.ca_pin_size(), 2);
  EXPECT_EQ(agent.ca_pin(1), "sha256:BB");
  EXPECT_TRUE(agent.renewal_off());
}

TEST(ConfigFile, ANumberIsTextWhereTextIsExpected) {
  config::v1::CaConfig ca;
  ASSERT_OK(LoadConfigText("trust_domain: 42\nlog_level: true\n", "a", &ca));
  EXPECT_EQ(ca.trust_domain(), "42");
  EXPECT_EQ(ca.log_level(), "true");
}

TEST(ConfigFile, ReadsNumbersAndChoices) {
  ca::v1::NodeIdentity identity;
  ASSERT_OK(LoadConfigText("ttl_seconds: -5\norder: 18446744073709551615\n", "a", &identity));
  EXPECT_EQ(identity.ttl_seconds(), -5);
  EXPECT_EQ(identity.order(), UINT64_MAX);
  trust::v1::PeerRule rule;
  ASSERT_OK(LoadConfigText("mode: AUDIT\ninbound: true", "a", &rule));
  EXPECT_EQ(rule.mode(), trust::v1::PeerRule::AUDIT);
  EXPECT_THAT(LoadConfigText("mode: LOUD", "a", &rule),
              StatusIs(absl::StatusCode::kInvalidArgument, "mode: expected"));
  EXPECT_THAT(LoadConfigText("order: -1", "a", &identity),
              StatusIs(absl::StatusCode::kInvalidArgument, "not negative, found '-1'"));
  EXPECT_THAT(LoadConfigText("order: \"1\"", "a", &identity),
              StatusIs(absl::StatusCode::kInvalidArgument, "order"));
}

TEST(ConfigFile, AnEmptyFileChangesNothing) {
  EXPECT_OK(Load(""));
  EXPECT_OK(Load("# nothing\n---\n"));
}

TEST(ConfigFile, AnUnknownFieldIsRefusedWithItsLineAndTheKnownOnes) {
  EXPECT_THAT(Load("data_dir: /x\ntrust_domian: y\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "ca.yaml:2: trust_domian: unknown field; known here: data_dir"));
  EXPECT_THAT(Load("authority:\n  roots: generate\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca.yaml:2: authority.roots: unknown"));
}

TEST(ConfigFile, AFieldGivenTwiceIsRefused) {
  EXPECT_THAT(Load("data_dir: /x\ndata_dir: /y\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca.yaml:2: data_dir: given twice"));
}

TEST(ConfigFile, AValueOfAnotherKindIsRefused) {
  EXPECT_THAT(Load("data_dir: [a]"), StatusIs(absl::StatusCode::kInvalidArgument, "data_dir"));
  EXPECT_THAT(Load("data_dir: {a: b}"), StatusIs(absl::StatusCode::kInvalidArgument, "data_dir"));
  EXPECT_THAT(Load("data_dir:"), StatusIs(absl::StatusCode::kInvalidArgument, "data_dir"));
  EXPECT_THAT(Load("authority: generate"),
              StatusIs(absl::StatusCode::kInvalidArgument, "authority: expected a map"));
  EXPECT_THAT(Load("- a\n- b\n"), StatusIs(absl::StatusCode::kInvalidArgument, "ca.yaml:1"));
  EXPECT_THAT(LoadAgent("renewal_off: yes"),
              StatusIs(absl::StatusCode::kInvalidArgument, "true or false, found 'yes'"));
  EXPECT_THAT(LoadAgent("renewal_off: \"true\""),
              StatusIs(absl::StatusCode::kInvalidArgument, "renewal_off"));
  EXPECT_THAT(LoadAgent("ca_pin: sha256:AA"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca_pin: expected a list"));
  EXPECT_THAT(LoadAgent("ca_pin: [a, [b]]"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca_pin[1]"));
  EXPECT_THAT(Load("data_dir: !!binary aGk="), StatusIs(absl::StatusCode::kInvalidArgument, "tag"));
}

TEST(ConfigFile, MalformedYamlIsRefusedWithItsLine) {
  EXPECT_THAT(Load("data_dir: /x\n\ttrust_domain: [\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca.yaml:2"));
  EXPECT_THAT(Load(std::string("data_dir: /x\0trust_domain: y", 28)),
              StatusIs(absl::StatusCode::kInvalidArgument, "zero byte"));
  EXPECT_THAT(Load("data_dir: a\n---\ndata_dir: b\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "more than one"));
}

TEST(ConfigFile, AliasesAndDeepNestingAreRefused) {
  EXPECT_THAT(Load("data_dir: &a x\ntrust_domain: *a\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca.yaml:2: aliases"));
  EXPECT_THAT(Load(std::string(17, '[') + std::string(17, ']')),
              StatusIs(absl::StatusCode::kInvalidArgument, "more than 16 deep"));
  EXPECT_THAT(Load(std::string(100'000, '[')), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Load(std::string(100'000, '{')), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ConfigFile, FilesAreLimitedAndNamed) {
  test::TempDir dir;
  config::v1::CaConfig config;
  ASSERT_OK(WriteFileDurably(dir.Join("c.yaml"), "nonsense: 1\n"));
  EXPECT_THAT(LoadConfigFile(dir.Join("c.yaml"), &config),
              StatusIs(absl::StatusCode::kInvalidArgument, dir.Join("c.yaml") + ":1: nonsense"));
  ASSERT_OK(WriteFileDurably(dir.Join("c.yaml"), std::string(1024 * 1024 + 1, '#')));
  EXPECT_THAT(LoadConfigFile(dir.Join("c.yaml"), &config),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(LoadConfigFile(dir.Join("none.yaml"), &config),
              StatusIs(absl::StatusCode::kNotFound, dir.Join("none.yaml")));
}

TEST(ParseDuration, TakesPositiveDurationsOnly) {
  EXPECT_THAT(ParseDuration("1h30m", "ttl"), IsOkAndHolds(absl::Minutes(90)));
  EXPECT_THAT(ParseDuration("90s", "ttl"), IsOkAndHolds(absl::Seconds(90)));
  for (const char* text : {"", "0s", "-1s", "inf", "10", "1 hour", "ten"}) {
    EXPECT_THAT(ParseDuration(text, "authority.leaf_ttl"),
                StatusIs(absl::StatusCode::kInvalidArgument, "authority.leaf_ttl"))
        << text;
  }
}

}  // namespace
}  // namespace linchpin::base
