/* SPDX-License-Identifier: Apache-2.0 */
/* preparation: what is in the pool before an operation, where operations of several rooms begin with it. */
#ifndef TESTS_INTEGRATION_COMMIT_POINTS_PREPARATION_H
#define TESTS_INTEGRATION_COMMIT_POINTS_PREPARATION_H

void prepare_nothing(void);

/* Block 0 is of `mine`: as it is, and with the name "kept"; or that name alone holds it. */
void prepare_owned(void);
void prepare_owned_and_named(void);
void prepare_name_alone(void);

/* It is of `other`, and has the name "theirs"; `mine` has looked it up as well. */
void prepare_named(void);
void prepare_looked_up(void);

/* Owned; owned and named; another's, held twice; owned and looked up; mine as the last hold. */
void prepare_mixed(void);

/* Two of `mine`; the first holds the second as well. */
void prepare_two(void);
void prepare_linked(void);

void prepare_sealed(void);
void prepare_ticket_owned(void);

/* It has a time to live, and the name "leased"; those and a second name are all that holds it. */
void prepare_leased(void);
void prepare_lease_and_name_alone(void);

#endif
