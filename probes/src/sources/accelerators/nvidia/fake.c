/* A library that answers as NVIDIA's does, built by the tests; each test switches some of it off or breaks it.
 *
 * STATE is the beginning of two files' names: the library writes into .open how often it is open at the moment,
 * and while there is a .lost, its processor is.
 */
#include <stdio.h>
#include <unistd.h>

typedef int result;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_LOST = 15 };
typedef struct { int unused; } *device;
static int opened;
static int only;

static void tell(void) {
    FILE *file = fopen(STATE ".open", "w");
    if (file) { fprintf(file, "%d", opened); fclose(file); }
}

static result lost(void) {
    return access(STATE ".lost", F_OK) == 0 ? GPU_LOST : SUCCESS;
}

result nvmlInit_v2(void) {
#ifdef SLOW_TO_OPEN
    sleep(SLOW_TO_OPEN);
#endif
#ifdef NO_DRIVER
    return DRIVER_NOT_LOADED;
#endif
    opened++; tell(); return SUCCESS;
}
result nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
result nvmlShutdown(void) { opened--; tell(); return SUCCESS; }
const char *nvmlErrorString(result r) { (void)r; return "fake"; }
result nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "550.54.14"); return SUCCESS;
}
result nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *found) {
    (void)index; *found = (device)&only; return lost();
}

#ifndef SYMBOLS_MISSING
result nvmlDeviceGetUtilizationRates(device d, unsigned *rates) {
    (void)d; rates[0] = 37; rates[1] = 5; return lost();
}
result nvmlDeviceGetMemoryInfo_v2(device d, void *into) {
    struct { unsigned version; unsigned long long total, reserved, free, used; } *memory = into;
    (void)d; memory->total = 8ull << 30; memory->reserved = 1 << 20; memory->free = 6ull << 30;
    memory->used = 2ull << 30; return lost();
}
result nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *mj) {
    (void)d; *mj = 123456; return lost();
}
#endif
result nvmlDeviceGetClockInfo(device d, int which, unsigned *mhz) {
    (void)d; (void)which; *mhz = 1500; return lost();
}
result nvmlDeviceGetTemperature(device d, int sensor, unsigned *celsius) {
    (void)d; (void)sensor; *celsius = 61; return lost();
}
result nvmlDeviceGetPowerUsage(device d, unsigned *mw) {
#ifdef UNIFIED_MEMORY
    (void)d; (void)mw; return NOT_SUPPORTED;
#else
    (void)d; *mw = 42000; return lost();
#endif
}
result nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *reasons) {
    (void)d; *reasons = 0x4; return lost();
}
#ifdef INSTANT_POWER
struct field { unsigned id, scope; long long time, latency; int type; result ret;
    union { double d; unsigned u; unsigned long long ull; } value; };
result nvmlDeviceGetFieldValues(device d, int count, struct field *fields) {
    (void)d;
    for (int i = 0; i < count; i++) {
        fields[i].ret = fields[i].id == 186 ? SUCCESS : NOT_SUPPORTED;
        fields[i].type = 1; fields[i].value.u = 55500;
    }
    return lost();
}
#endif
