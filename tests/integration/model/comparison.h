/* SPDX-License-Identifier: Apache-2.0 */
/* comparison: all that can be listed, the records in the tables, and every byte of every block, beside what the model says. */
#ifndef TESTS_INTEGRATION_MODEL_COMPARISON_H
#define TESTS_INTEGRATION_MODEL_COMPARISON_H

/* At rest. Of blocks that others have too, only the model's own are compared. */
void comparison_make(void);

#endif
