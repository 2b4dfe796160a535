/* drv.h - The NVIDIA driver's functions, found at run time. The types and
 * values here are those of the driver's ABI and are named as NVIDIA's cuda.h
 * names them, which is not needed to build; where a toolkit is installed a test
 * holds each against it (tests/kernels/abi_drv.h). Only a part of them is
 * here.
 *
 * A source that has included <cuda.h> defines DRV_TYPES_GIVEN before it
 * includes this one, and gets the table alone. */
#ifndef TG_KERNELS_CUDA_DRV_H
#define TG_KERNELS_CUDA_DRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

#ifndef DRV_TYPES_GIVEN

/* --- types and values of the driver's ABI -------------------------------- */

typedef unsigned long long CUdeviceptr; /* an address of the device's memory */
typedef int CUdevice;                   /* a number that cuDeviceGet() gives */
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;

typedef enum cudaError_enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_DEINITIALIZED = 4,
    CUDA_ERROR_STUB_LIBRARY = 34,
    CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_INVALID_PTX = 218,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_MERGE = 902,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903,
    CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904,
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
    CUDA_ERROR_CAPTURED_EVENT = 907,
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908,
    CUDA_ERROR_UNKNOWN = 999,
} CUresult;

typedef enum CUdevice_attribute_enum {
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
} CUdevice_attribute;

typedef enum CUfunction_attribute_enum {
    CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
    CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
    CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
} CUfunction_attribute;

typedef enum CUstreamCaptureMode_enum {
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0,
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
    CU_STREAM_CAPTURE_MODE_RELAXED = 2,
} CUstreamCaptureMode;

/* Flags of streams, events and memory of the host. */
enum { CU_STREAM_NON_BLOCKING = 1 };
enum {
    CU_EVENT_DEFAULT = 0,
    CU_EVENT_BLOCKING_SYNC = 1,
    CU_EVENT_DISABLE_TIMING = 2,
};
#define CU_MEMHOSTALLOC_PORTABLE    1
#define CU_MEMHOSTREGISTER_PORTABLE 1

typedef enum CUlaunchAttributeID_enum {
    CU_LAUNCH_ATTRIBUTE_IGNORE = 0,
    CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2,
    CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
} CUlaunchAttributeID;

typedef union CUlaunchAttributeValue_union {
    char pad[64];
    int cooperative;
    int programmaticStreamSerializationAllowed;
    void *align; /* the driver's has members of 8 bytes */
} CUlaunchAttributeValue;

typedef struct CUlaunchAttribute_st {
    CUlaunchAttributeID id;
    char pad[8 - sizeof(CUlaunchAttributeID)];
    CUlaunchAttributeValue value;
} CUlaunchAttribute;

typedef struct CUlaunchConfig_st {
    unsigned int gridDimX, gridDimY, gridDimZ;
    unsigned int blockDimX, blockDimY, blockDimZ;
    unsigned int sharedMemBytes;
    CUstream hStream;
    CUlaunchAttribute *attrs; /* numAttrs of them */
    unsigned int numAttrs;
} CUlaunchConfig;

#endif /* DRV_TYPES_GIVEN */

/* --- the table ----------------------------------------------------------- */

/* X(member, symbol, parameters) of every function that is used. The symbol
 * carries the version of the ABI that the parameters belong to. */
#define DRV_DEVICE_CALLS(X)                                                    \
    X(init, cuInit, (unsigned int flags))                                      \
    X(version, cuDriverGetVersion, (int *version))                             \
    X(error_name, cuGetErrorName, (CUresult r, const char **name))             \
    X(device_count, cuDeviceGetCount, (int *n))                                \
    X(device_get, cuDeviceGet, (CUdevice * dev, int ordinal))                  \
    X(device_name, cuDeviceGetName, (char *name, int len, CUdevice dev))       \
    X(device_total_mem, cuDeviceTotalMem_v2, (size_t * bytes, CUdevice dev))   \
    X(device_attribute, cuDeviceGetAttribute,                                  \
      (int *value, CUdevice_attribute a, CUdevice dev))                        \
    X(device_pci, cuDeviceGetPCIBusId, (char *id, int len, CUdevice dev))      \
    X(ctx_create, cuCtxCreate_v2,                                              \
      (CUcontext * ctx, unsigned int flags, CUdevice dev))                     \
    X(ctx_destroy, cuCtxDestroy_v2, (CUcontext ctx))                           \
    X(ctx_set, cuCtxSetCurrent, (CUcontext ctx))                               \
    X(ctx_sync, cuCtxSynchronize, (void))

/* Of memory and copies. */
#define DRV_MEMORY_CALLS(X)                                                    \
    X(mem_info, cuMemGetInfo_v2, (size_t * free_bytes, size_t * all_bytes))    \
    X(mem_alloc, cuMemAlloc_v2, (CUdeviceptr * p, size_t bytes))               \
    X(mem_free, cuMemFree_v2, (CUdeviceptr p))                                 \
    X(host_alloc, cuMemHostAlloc,                                              \
      (void **p, size_t bytes, unsigned int flags))                            \
    X(host_free, cuMemFreeHost, (void *p))                                     \
    X(host_register, cuMemHostRegister_v2,                                     \
      (void *p, size_t bytes, unsigned int flags))                             \
    X(host_unregister, cuMemHostUnregister, (void *p))                         \
    X(to_device, cuMemcpyHtoDAsync_v2,                                         \
      (CUdeviceptr dst, const void *src, size_t bytes, CUstream s))            \
    X(to_host, cuMemcpyDtoHAsync_v2,                                           \
      (void *dst, CUdeviceptr src, size_t bytes, CUstream s))                  \
    X(on_device, cuMemcpyDtoDAsync_v2,                                         \
      (CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream s))            \
    X(memset8, cuMemsetD8Async,                                                \
      (CUdeviceptr dst, unsigned char byte, size_t n, CUstream s))

/* Of streams and events. */
#define DRV_QUEUE_CALLS(X)                                                     \
    X(stream_create, cuStreamCreate, (CUstream * s, unsigned int flags))       \
    X(stream_destroy, cuStreamDestroy_v2, (CUstream s))                        \
    X(stream_sync, cuStreamSynchronize, (CUstream s))                          \
    X(stream_query, cuStreamQuery, (CUstream s))                               \
    X(stream_wait, cuStreamWaitEvent,                                          \
      (CUstream s, CUevent e, unsigned int flags))                             \
    X(event_create, cuEventCreate, (CUevent * e, unsigned int flags))          \
    X(event_destroy, cuEventDestroy_v2, (CUevent e))                           \
    X(event_record, cuEventRecord, (CUevent e, CUstream s))                    \
    X(event_query, cuEventQuery, (CUevent e))                                  \
    X(event_sync, cuEventSynchronize, (CUevent e))                             \
    X(event_ms, cuEventElapsedTime, (float *ms, CUevent from, CUevent to))

/* Of modules, kernels and recorded graphs. */
#define DRV_KERNEL_CALLS(X)                                                    \
    X(module_load, cuModuleLoadData, (CUmodule * m, const void *image))        \
    X(module_unload, cuModuleUnload, (CUmodule m))                             \
    X(module_function, cuModuleGetFunction,                                    \
      (CUfunction * f, CUmodule m, const char *name))                          \
    X(function_attribute, cuFuncGetAttribute,                                  \
      (int *value, CUfunction_attribute a, CUfunction f))                      \
    X(function_set, cuFuncSetAttribute,                                        \
      (CUfunction f, CUfunction_attribute a, int value))                       \
    X(occupancy, cuOccupancyMaxActiveBlocksPerMultiprocessor,                  \
      (int *blocks, CUfunction f, int threads, size_t smem))                   \
    X(launch, cuLaunchKernelEx,                                                \
      (const CUlaunchConfig *config, CUfunction f, void **params,              \
       void **extra))                                                          \
    X(capture_begin, cuStreamBeginCapture_v2,                                  \
      (CUstream s, CUstreamCaptureMode mode))                                  \
    X(capture_end, cuStreamEndCapture, (CUstream s, CUgraph * g))              \
    X(graph_instantiate, cuGraphInstantiateWithFlags,                          \
      (CUgraphExec * e, CUgraph g, unsigned long long flags))                  \
    X(graph_launch, cuGraphLaunch, (CUgraphExec e, CUstream s))                \
    X(graph_exec_destroy, cuGraphExecDestroy, (CUgraphExec e))                 \
    X(graph_destroy, cuGraphDestroy, (CUgraph g))

/* All of them. */
#define DRV_CALLS(X)                                                           \
    DRV_DEVICE_CALLS(X)                                                        \
    DRV_MEMORY_CALLS(X)                                                        \
    DRV_QUEUE_CALLS(X)                                                         \
    DRV_KERNEL_CALLS(X)

/* A driver that is loaded. */
struct drv {
    void *so;  /* the library; it stays in the process */
    bool fake; /* not a GPU's: it exports DRV_FAKE_MARK */
#define DRV_MEMBER(member, symbol, params) CUresult(*member) params;
    DRV_CALLS(DRV_MEMBER)
#undef DRV_MEMBER
};

/* A symbol that the emulator's driver exports and NVIDIA's does not. */
#define DRV_FAKE_MARK "fakecuda_mark"

/* The oldest driver's version that will do, as cuDriverGetVersion() gives it:
 * 12.0, the first with all of the table. */
#define DRV_OLDEST 12000

/* Load the driver, libcuda.so.1 or the file that the environment's
 * TOLLGATE_CUDA_DRIVER names, and initialise it. Free *out by drv_close().
 * KRN_UNSUPPORTED, and a sentence in <why> (why_bytes; may be NULL): there is
 * no driver, it is too old, or it finds no GPU. KRN_NOMEM. */
enum krn_status drv_open(char *why, size_t why_bytes,
                         struct drv **out) KRN_MUST_CHECK;

/* Free <v>; NULL is fine. The library stays loaded. */
void drv_close(struct drv *v);

/* The name of <r>: "CUDA_ERROR_NO_DEVICE". Static; never NULL. */
const char *drv_error(const struct drv *v, CUresult r);

/* Whether device <ordinal> is there and can be used, from sm_80 on; if so its
 * handle and its compute capability, 90 for 9.0. KRN_UNSUPPORTED and a sentence
 * in <why> if not. */
enum krn_status drv_device(const struct drv *v, int ordinal, char *why,
                           size_t why_bytes, CUdevice *dev_out,
                           unsigned *cc_out) KRN_MUST_CHECK;

#endif
