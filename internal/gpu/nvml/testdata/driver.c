// A driver library for tests: the functions of libnvidia-ml that the agent uses, for two
// GPUs that do not exist. The files in a directory (FAKE_DRIVER_DIR, or /run/fake-driver)
// have it report faults:
//
//   xid    "0 79" reports Xid 79 of GPU 0, once
//   lost   "1" has GPU 1 fall off the bus
//   down   the driver does not start
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int result;
typedef unsigned long long u64;
enum { success = 0, invalid = 2, unsupported = 3, timed_out = 10, not_loaded = 9, lost = 15 };
enum { count = 2 };

static char gpus[count];
static char events;

static FILE *fault(const char *name, char *path, size_t size) {
  const char *dir = getenv("FAKE_DRIVER_DIR");
  snprintf(path, size, "%s/%s", dir ? dir : "/run/fake-driver", name);
  return fopen(path, "r");
}

static int index_of(void *device) { return (char *)device - gpus; }

static int is_lost(int i) {
  char path[512];
  FILE *f = fault("lost", path, sizeof path);
  int found = -1;
  if (!f) return 0;
  if (fscanf(f, "%d", &found) != 1) found = -1;
  fclose(f);
  return found == i;
}

result nvmlInit_v2(void) {
  char path[512];
  FILE *f = fault("down", path, sizeof path);
  if (!f) return success;
  fclose(f);
  return not_loaded;
}
result nvmlShutdown(void) { return success; }
const char *nvmlErrorString(result r) {
  switch (r) {
  case not_loaded: return "Driver Not Loaded";
  case lost: return "GPU is lost";
  case unsupported: return "Not Supported";
  }
  return "Unknown Error";
}
result nvmlSystemGetDriverVersion(char *v, unsigned n) { snprintf(v, n, "535.261.03"); return success; }
result nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return success; }
result nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) {
  if (i >= count) return invalid;
  if (is_lost(i)) return lost;
  *d = &gpus[i];
  return success;
}
result nvmlDeviceGetUUID(void *d, char *v, unsigned n) { snprintf(v, n, "GPU-00000000-0000-0000-0000-00000000000%d", index_of(d)); return success; }
result nvmlDeviceGetName(void *d, char *v, unsigned n) { snprintf(v, n, "NVIDIA H100 80GB HBM3"); return success; }
result nvmlDeviceGetMinorNumber(void *d, unsigned *n) { *n = index_of(d); return success; }
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
result nvmlDeviceGetPciInfo_v3(void *d, struct pci *p) {
  memset(p, 0, sizeof *p);
  p->bus = index_of(d) + 1;
  snprintf(p->bus_id, sizeof p->bus_id, "00000000:%02X:00.0", p->bus);
  return success;
}
result nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *next) { return unsupported; }
struct memory { u64 total, free, used; };
result nvmlDeviceGetMemoryInfo(void *d, struct memory *m) {
  if (is_lost(index_of(d))) return lost;
  m->total = 80ull << 30, m->used = 8ull << 30, m->free = m->total - m->used;
  return success;
}
struct utilization { unsigned gpu, memory; };
result nvmlDeviceGetUtilizationRates(void *d, struct utilization *u) { u->gpu = 50, u->memory = 25; return success; }
result nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { *mw = 350000; return success; }
result nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *c) { *c = 60 + index_of(d); return sensor ? invalid : success; }
result nvmlDeviceGetTotalEccErrors(void *d, unsigned kind, unsigned counter, u64 *n) { *n = kind ? 2 : 7; return counter ? invalid : success; }
result nvmlDeviceGetNvLinkState(void *d, unsigned link, unsigned *up) {
  if (link >= 4) return invalid;
  *up = link != 3;
  return success;
}
result nvmlDeviceGetNvLinkErrorCounter(void *d, unsigned link, unsigned counter, u64 *n) { *n = counter == 2; return success; }

struct event { void *device; u64 type, data; unsigned instance, compute; };
result nvmlEventSetCreate(void **set) { *set = &events; return success; }
result nvmlEventSetFree(void *set) { return set == &events ? success : invalid; }
result nvmlDeviceRegisterEvents(void *d, u64 types, void *set) { return types == 8 && set == &events ? success : invalid; }
result nvmlEventSetWait_v2(void *set, struct event *e, unsigned ms) {
  for (unsigned waited = 0; waited < ms; waited += 20) {
    char path[512];
    int i = 0, xid = 0;
    FILE *f = fault("xid", path, sizeof path);
    if (f) {
      int n = fscanf(f, "%d %d", &i, &xid);
      fclose(f);
      if (n == 2) {
        unlink(path);
        memset(e, 0, sizeof *e);
        e->type = 8, e->data = xid;
        if (i >= 0 && i < count) e->device = &gpus[i];
        return success;
      }
    }
    usleep(20000);
  }
  return timed_out;
}
