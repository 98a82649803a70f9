#include "gmc/Error.h"
#include "runtime/train/Schedule.h"

#include <gtest/gtest.h>

using namespace gmc::rt;

TEST(Schedule, Constant) {
  Schedule s{ScheduleKind::Constant, 0.5, 0, 100};
  EXPECT_EQ(s.rate(0), 0.5);
  EXPECT_EQ(s.rate(99), 0.5);
}

TEST(Schedule, WarmupRisesLinearlyToTheBase) {
  Schedule s{ScheduleKind::Cosine, 1.0, 4, 104};
  EXPECT_DOUBLE_EQ(s.rate(0), 0.25);
  EXPECT_DOUBLE_EQ(s.rate(3), 1.0);
  EXPECT_DOUBLE_EQ(s.rate(4), 1.0);
  EXPECT_DOUBLE_EQ(s.rate(54), 0.5);
  EXPECT_NEAR(s.rate(104), 0.0, 1e-15);
}

TEST(Schedule, LinearAndStep) {
  Schedule linear{ScheduleKind::Linear, 2.0, 0, 10};
  EXPECT_DOUBLE_EQ(linear.rate(0), 2.0);
  EXPECT_DOUBLE_EQ(linear.rate(5), 1.0);
  EXPECT_DOUBLE_EQ(linear.rate(20), 0.0);
  Schedule step{ScheduleKind::Step, 1.0, 0, 90};
  EXPECT_DOUBLE_EQ(step.rate(29), 1.0);
  EXPECT_DOUBLE_EQ(step.rate(30), 0.1);
  EXPECT_DOUBLE_EQ(step.rate(59), 0.1);
  EXPECT_NEAR(step.rate(60), 0.01, 1e-15);
  EXPECT_NEAR(step.rate(90), 0.01, 1e-15);
}

TEST(Schedule, Names) {
  EXPECT_EQ(parseSchedule("cosine"), ScheduleKind::Cosine);
  EXPECT_THROW(parseSchedule("polynomial"), Error);
}
