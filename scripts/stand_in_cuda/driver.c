/* The functions of CUDA's driver that we ask for ourselves, over ordinary memory; and the one onnxruntime links to. */

#include <stdlib.h>
#include <string.h>

int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Stand-in", size); return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return 0; }
int cuCtxPushCurrent_v2(void *context) { return 0; }
int cuCtxPopCurrent_v2(void **context) { return 0; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { return posix_memalign(address, 4096, size) ? 2 : 0; }
int cuMemFreeHost(void *address) { free(address); return 0; }
int cuTensorMapEncodeTiled(void) { return 100; }
