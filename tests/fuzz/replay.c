/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a fuzz target that is built without libFuzzer: runs it over each file of the folders given, once. So the
 * seeds, and every input that ever broke something, are part of the ordinary tests. No input at all is a failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *folder, const char *name)
{
	char path[4096];
	long size;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
		perror(path);
		return -1;
	}
	rewind(file);
	uint8_t *bytes = malloc((size_t)size + 1);
	if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
		perror(path);
		return -1;
	}
	fclose(file);
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(bytes, (size_t)size);
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int inputs = 0;

	for (int i = 1; i < argc; i++) {
		DIR *directory = opendir(argv[i]);
		if (!directory) {
			perror(argv[i]);
			return 1;
		}
		for (struct dirent *entry; (entry = readdir(directory));) {
			if (entry->d_name[0] == '.')
				continue;
			if (replay(argv[i], entry->d_name) != 0)
				return 1;
			inputs++;
		}
		closedir(directory);
	}
	printf("%d inputs\n", inputs);
	return inputs > 0 ? 0 : 1;
}
