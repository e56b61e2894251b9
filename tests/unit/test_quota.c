/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as the command line says them: every form that is understood, every one that is not, and what follows for whom nothing was said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "server/quota.h"

static struct quotas quotas;
static char why[QUOTA_TEXT_MAX];

static int setup(void **state)
{
	(void)state;
	quotas_init(&quotas);
	why[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	quotas_deinit(&quotas);
	return 0;
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(quotas_resolve(&quotas, why), 0);
	assert_null(quotas_find(&quotas, 0));
	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
		assert_int_equal(quotas.user.limit[kind], QUOTA_NONE);
		assert_int_equal(quotas.session.limit[kind], QUOTA_NONE);
	}
	assert_int_equal(quotas.guaranteed, 0);
}

static void test_every_kind(void **state)
{
	(void)state;
	assert_int_equal(quotas_limit(&quotas, "user:*:bytes=64M,blocks=10,names=9,tickets=8,links=7,waiters=6,sessions=0", why),
	                 0);
	assert_int_equal(quotas_limit(&quotas, "session:*:bytes=1.5K,blocks=1", why), 0);
	assert_int_equal(quotas_resolve(&quotas, why), 0);
	const uint64_t expected[] = {64 << 20, 10, 9, 8, 7, 6, 0};
	assert_memory_equal(quotas.user.limit, expected, sizeof expected);
	assert_int_equal(quotas.session.limit[QUOTA_BYTES], 1536);
	assert_int_equal(quotas.session.limit[QUOTA_BLOCKS], 1);
	assert_int_equal(quotas.session.limit[QUOTA_NAMES], QUOTA_NONE);
	assert_string_equal(quota_kind_word(QUOTA_LINKS), "links");
	assert_string_equal(quota_kind_noun(QUOTA_WAITERS, 0), "requests that wait");
	assert_string_equal(quota_kind_noun(QUOTA_WAITERS, 1), "request that waits");
	assert_string_equal(quota_kind_noun(QUOTA_NAMES, 2), "names");
}

/* What is said of one user, before or after what is said of all, by name and by number. */
static void test_one_user(void **state)
{
	(void)state;
	assert_int_equal(quotas_limit(&quotas, "user:1000:names=5,blocks=none", why), 0);
	assert_int_equal(quotas_limit(&quotas, "user:*:names=3,blocks=4,links=2", why), 0);
	assert_int_equal(quotas_limit(&quotas, "user:root:tickets=1", why), 0);
	assert_int_equal(quotas_limit(&quotas, "user:0:links=9", why), 0);
	assert_int_equal(quotas_limit(&quotas, "session:1000:names=1", why), 0);
	assert_int_equal(quotas_guarantee(&quotas, "user:1000=1M", why), 0);
	assert_int_equal(quotas_guarantee(&quotas, "user:4294967294=1", why), 0);
	assert_int_equal(quotas_resolve(&quotas, why), 0);
	assert_int_equal(quotas.count, 3);
	const struct quota_entry *one = quotas_find(&quotas, 1000), *root = quotas_find(&quotas, 0);
	assert_non_null(one);
	assert_int_equal(one->user.limit[QUOTA_NAMES], 5);
	assert_int_equal(one->user.limit[QUOTA_BLOCKS], QUOTA_NONE);
	assert_int_equal(one->user.limit[QUOTA_LINKS], 2);
	assert_int_equal(one->session.limit[QUOTA_NAMES], 1);
	assert_int_equal(one->session.limit[QUOTA_BLOCKS], QUOTA_NONE);
	assert_int_equal(one->guarantee, 1 << 20);
	assert_non_null(root);
	assert_int_equal(root->user.limit[QUOTA_NAMES], 3);
	assert_int_equal(root->user.limit[QUOTA_TICKETS], 1);
	assert_int_equal(root->user.limit[QUOTA_LINKS], 9);
	assert_int_equal(quotas.guaranteed, (1 << 20) + 1);
	assert_non_null(quotas_find(&quotas, UINT32_MAX - 1));
	assert_null(quotas_find(&quotas, 1001));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text, *words;
	} wrong[] = {
		{"", "must be user:WHO"},
		{"user", "must be user:WHO"},
		{"user:", "must be user:WHO"},
		{"user::names=1", "must be user:WHO"},
		{"user:*:", "must be user:WHO"},
		{"user:*", "must be user:WHO"},
		{":*:names=1", "must be user:WHO"},
		{"group:*:names=1", "\"group\": a limit is"},
		{"user:*:names", "not of the form KIND=LIMIT"},
		{"user:*:names=1,", "not of the form"},
		{"user:*:,names=1", "not of the form"},
		{"user:*:names=1,,links=1", "not of the form"},
		{"user:*:=1", "not of the form"},
		{"user:*:names=", "names=: must be a number"},
		{"user:*:names=-1", "must be a number"},
		{"user:*:names=many", "must be a number"},
		{"user:*:names=18446744073709551616", "must be a number"},
		{"user:*:names=18446744073709551615", "must be a number"},
		{"user:*:bytes=1Q", "must be a number"},
		{"user:*:files=1", "no limit on \"files\""},
		{"user:*:names=1,names=1", "limit on names is given twice"},
		{"session:*:sessions=1", "a session is one session"},
		{"user:4294967295:names=1", "no number of a user"},
		{"user:99999999999999999999999:names=1", "no number of a user"},
		{"user:10x:names=1", "no number of a user"},
		{"user:-1:names=1", "no user \"-1\""},
		{"user:no such user:names=1", "no user \"no such user\""},
		{"session:no such user:names=1", "no user \"no such user\""},
		{"user:a name that is longer than any name of a user could be, I would say:names=1", "must be user:WHO"},
		{"user:*:a kind that is longer than any kind that there will ever be here, I would say, and longer than a piece of "
	     "text may be, too=1",
	     "not of the form"},
		{"user:*:a kind that is longer than any kind that there will ever be here, I say=1", "not of the form"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(quotas_limit(&quotas, wrong[i].text, why), -EINVAL);
		if (!strstr(why, wrong[i].words))
			fail_msg("%s: \"%s\"", wrong[i].text, why);
		quotas_deinit(&quotas);
		quotas_init(&quotas);
	}
	/* The other way round: in two arguments. */
	assert_int_equal(quotas_limit(&quotas, "session:7:names=1", why), 0);
	assert_int_equal(quotas_limit(&quotas, "session:7:names=none", why), -EINVAL);
	assert_int_equal(quotas_limit(&quotas, "user:7:names=1", why), 0);
}

static void test_refused_guarantees(void **state)
{
	static const struct {
		const char *text, *words;
	} wrong[] = {
		{"user:7", "must be user:WHO=SIZE"},
		{"7=1M", "must be user:WHO=SIZE"},
		{"session:7=1M", "must be user:WHO=SIZE"},
		{"user:=1M", "must be user:WHO=SIZE"},
		{"user:7=", "not a size"},
		{"user:7=0", "not a size"},
		{"user:7=much", "not a size"},
		{"user:7=18446744073709551615", "not a size"},
		{"user:*=1M", "no user \"*\""},
		{"user:8=2M", "to user 8 is given twice"},
		{"user:9=18446744073709551000", "more is guaranteed than there can be"},
	};

	(void)state;
	assert_int_equal(quotas_guarantee(&quotas, "user:8=1M", why), 0);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(quotas_guarantee(&quotas, wrong[i].text, why), -EINVAL);
		if (!strstr(why, wrong[i].words))
			fail_msg("%s: \"%s\"", wrong[i].text, why);
	}
}

static void test_contradiction(void **state)
{
	(void)state;
	assert_int_equal(quotas_guarantee(&quotas, "user:8=1M", why), 0);
	assert_int_equal(quotas_limit(&quotas, "user:*:bytes=1M", why), 0);
	assert_int_equal(quotas_resolve(&quotas, why), 0);
	assert_int_equal(quotas_guarantee(&quotas, "user:9=1025K", why), 0);
	assert_int_equal(quotas_resolve(&quotas, why), -EINVAL);
	assert_non_null(
		strstr(why, "user 9 is guaranteed 1025K, more than the 1M that --quota lets it have: guarantee 1M or less, or "));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),  TEST(test_every_kind),         TEST(test_one_user),
		TEST(test_refusals), TEST(test_refused_guarantees), TEST(test_contradiction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
