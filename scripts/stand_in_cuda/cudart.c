/* What onnxruntime's CUDA provider needs of CUDA's runtime to be made, to place nodes and to manage memory, without a
   GPU: device memory is the host's, copies are copies, and kernels compute nothing. Functions not named here are made
   to return 0 (`build.py`). Written from CUDA's public documentation. */

#include <stdlib.h>
#include <string.h>

enum { OK = 0, OUT_OF_MEMORY = 2, ALIGNED = 256 };

static int block(void **address, size_t size) { return posix_memalign(address, ALIGNED, size ? size : 1) ? OUT_OF_MEMORY : OK; }
static int handle(void **made) { return block(made, 64); }

int cudaMalloc(void **address, size_t size) { return block(address, size); }
int cudaMallocHost(void **address, size_t size) { return block(address, size); }
int cudaHostAlloc(void **address, size_t size, unsigned flags) { return block(address, size); }
int cudaFree(void *address) { free(address); return OK; }
int cudaFreeHost(void *address) { free(address); return OK; }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = (size_t)80 << 30; return OK; }

int cudaMemcpy(void *to, const void *from, size_t size, int kind) { memcpy(to, from, size); return OK; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { memcpy(to, from, size); return OK; }
int cudaMemset(void *to, int value, size_t size) { memset(to, value, size); return OK; }
int cudaMemsetAsync(void *to, int value, size_t size, void *stream) { memset(to, value, size); return OK; }

int cudaStreamCreate(void **made) { return handle(made); }
int cudaStreamCreateWithFlags(void **made, unsigned flags) { return handle(made); }
int cudaEventCreate(void **made) { return handle(made); }
int cudaEventCreateWithFlags(void **made, unsigned flags) { return handle(made); }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return OK; }
int cudaEventElapsedTime(float *ms, void *start, void *end) { *ms = 0; return OK; }

int cudaGetDeviceCount(int *count) { *count = 1; return OK; }
int cudaGetDevice(int *device) { *device = 0; return OK; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return OK; }
int cudaDriverGetVersion(int *version) { *version = 13000; return OK; }

/* Compute capability 9.0 with 132 multiprocessors. */
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : 1024;
    return OK;
}

/* The fields onnxruntime looks at, at their places in CUDA 13's `cudaDeviceProp`. */
int cudaGetDeviceProperties(char *found, int device) {
    memset(found, 0, 1000);
    strcpy(found, "Stand-in");
    *(size_t *)(found + 288) = (size_t)80 << 30;
    *(size_t *)(found + 296) = 49152;
    *(int *)(found + 308) = 32;
    *(int *)(found + 320) = 1024;
    *(int *)(found + 360) = 9;
    *(int *)(found + 384) = 132;
    return OK;
}

int cudaFuncGetAttributes(void *found, const void *function) { memset(found, 0, 128); return OK; }
int cudaPointerGetAttributes(void *found, const void *address) { memset(found, 0, 64); return OK; }
const char *cudaGetErrorName(int error) { return "error"; }
const char *cudaGetErrorString(int error) { return "error"; }
void **__cudaRegisterFatBinary(void *binary) { static void *made[4]; return made; }
