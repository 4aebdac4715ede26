// Package nvml reads GPUs through libnvidia-ml, the management library of the driver.
// It loads the library while the program runs and needs no C compiler to be built. A
// function that a driver does not have is missing only when it is needed.
package nvml

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ebitengine/purego"
)

// A result is what the functions of the library return.
type result int32

// The results that have a meaning here.
const (
	success    result = 0
	timedOut   result = 10
	gpuLost    result = 15
	noFunction result = 13
)

// A handle is a GPU, or a set of events, in the library.
type handle = uintptr

// functions are those of the library that every supported driver has.
type functions struct {
	init           func() result
	shutdown       func() result
	errorString    func(result) string
	driverVersion  func(*byte, uint32) result
	count          func(*uint32) result
	byIndex        func(uint32, *handle) result
	uuid           func(handle, *byte, uint32) result
	name           func(handle, *byte, uint32) result
	minor          func(handle, *uint32) result
	pci            func(handle, *pciInfo) result
	memory         func(handle, *memory) result
	utilization    func(handle, *utilization) result
	power          func(handle, *uint32) result
	temperature    func(handle, uint32, *uint32) result
	ecc            func(handle, uint32, uint32, *uint64) result
	mig            func(handle, *uint32, *uint32) result
	linkState      func(handle, uint32, *uint32) result
	linkErrors     func(handle, uint32, uint32, *uint64) result
	eventSetCreate func(*handle) result
	eventSetFree   func(handle) result
	registerEvents func(handle, uint64, handle) result
	eventSetWait   func(handle, *eventData, uint32) result
}

// symbols are the names of the functions. required ones must exist.
func (f *functions) symbols() (required, optional map[string]any) {
	required = map[string]any{
		"nvmlInit_v2": &f.init, "nvmlShutdown": &f.shutdown, "nvmlErrorString": &f.errorString,
		"nvmlSystemGetDriverVersion": &f.driverVersion, "nvmlDeviceGetCount_v2": &f.count,
		"nvmlDeviceGetHandleByIndex_v2": &f.byIndex, "nvmlDeviceGetUUID": &f.uuid, "nvmlDeviceGetName": &f.name,
		"nvmlDeviceGetMinorNumber": &f.minor, "nvmlDeviceGetPciInfo_v3": &f.pci,
	}
	optional = map[string]any{
		"nvmlDeviceGetMemoryInfo": &f.memory, "nvmlDeviceGetUtilizationRates": &f.utilization,
		"nvmlDeviceGetPowerUsage": &f.power, "nvmlDeviceGetTemperature": &f.temperature,
		"nvmlDeviceGetTotalEccErrors": &f.ecc, "nvmlDeviceGetMigMode": &f.mig,
		"nvmlDeviceGetNvLinkState": &f.linkState, "nvmlDeviceGetNvLinkErrorCounter": &f.linkErrors,
		"nvmlEventSetCreate": &f.eventSetCreate, "nvmlEventSetFree": &f.eventSetFree,
		"nvmlDeviceRegisterEvents": &f.registerEvents, "nvmlEventSetWait_v2": &f.eventSetWait,
	}
	return required, optional
}

// The structures of the library, as its header lays them out.
type (
	pciInfo struct {
		_     [16]byte  // bus ID of the first version
		_     [5]uint32 // domain, bus, device, device ID, subsystem ID
		busID [32]byte
	}
	memory struct {
		total uint64
		_     uint64 // free
		used  uint64
	}
	utilization struct{ gpu, memory uint32 }
	eventData   struct {
		device     handle
		kind, data uint64
		_          [2]uint32 // GPU instance, compute instance
	}
)

// Library is an open library.
type Library struct {
	functions
	handle uintptr
	mu     sync.Mutex // of known
	known  map[string]handle
	close  sync.Once
}

// Open loads the library at a path, or by its name as the system finds it.
func Open(path string) (*Library, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		// A library that is built against more than the machine has is still of use.
		if h, err = purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_LOCAL); err != nil {
			return nil, fmt.Errorf("load the driver library: %w", err)
		}
	}
	l := &Library{handle: h, known: map[string]handle{}}
	if err := l.bind(); err != nil {
		return nil, errors.Join(err, closeHandle(h))
	}
	if r := l.init(); r != success {
		err := fmt.Errorf("start the driver library: %w", l.err(r))
		return nil, errors.Join(err, closeHandle(h))
	}
	return l, nil
}

func closeHandle(h uintptr) error {
	if err := purego.Dlclose(h); err != nil {
		return fmt.Errorf("unload the driver library: %w", err)
	}
	return nil
}

func (l *Library) bind() error {
	required, optional := l.symbols()
	for name, function := range required {
		address, err := purego.Dlsym(l.handle, name)
		if err != nil {
			return fmt.Errorf("the driver library lacks the function %s: %w", name, err)
		}
		purego.RegisterFunc(function, address)
	}
	for name, function := range optional {
		if address, err := purego.Dlsym(l.handle, name); err == nil {
			purego.RegisterFunc(function, address)
		}
	}
	return nil
}

// Close ends the use of the library. It stays loaded: a call might still run.
func (l *Library) Close() { l.close.Do(func() { l.shutdown() }) }

// resultError is a result other than success.
type resultError struct {
	result result
	text   string
}

func (e resultError) Error() string { return fmt.Sprintf("%s (NVML error %d)", e.text, e.result) }

func (l *Library) err(r result) error {
	if r == success {
		return nil
	}
	return resultError{r, l.errorString(r)}
}
