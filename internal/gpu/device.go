package gpu

import "context"

// Resource is the name under which jobs ask for GPUs. It is also the kind of the
// devices for the container runtime.
const Resource = "nvidia.com/gpu"

// A Device is one GPU.
type Device struct {
	Index int    // the order of the driver
	Minor int    // the number in the name of its device file
	UUID  string // "GPU-…"; stays the same as long as the card does
	Name  string // "NVIDIA H100 80GB HBM3"
	BusID string // "00000000:01:00.0"
	// MIG is true if the GPU is split into instances, which the agent does not offer.
	MIG bool
}

// A Sample is what a GPU measures. A value that the GPU does not have is nil.
type Sample struct {
	Utilization       *float64 // 0 to 1, of the time in which something ran
	MemoryUtilization *float64 // 0 to 1, of the time in which memory was read or written
	MemoryTotal       *float64 // bytes
	MemoryUsed        *float64 // bytes
	PowerWatts        *float64
	Celsius           *float64
	ECCCorrected      *float64 // errors since the driver was loaded
	ECCUncorrected    *float64
	NVLinksActive     *float64
	NVLinkErrors      *float64
}

// An Event is an error that the driver reported about a GPU.
type Event struct {
	UUID string // empty if the driver did not say which GPU
	Xid  uint64
}

// A Library is the driver as the agent uses it. Its methods can be called at the same
// time.
type Library interface {
	// Driver is the version of the driver.
	Driver() (string, error)
	// Devices lists the GPUs. One that cannot be read is in lost, with the reason.
	Devices() (devices []Device, lost map[int]error, err error)
	// Sample reads a GPU. It fails only if the GPU is not responding.
	Sample(uuid string) (Sample, error)
	// Watch calls report for each event until ctx ends or the driver fails. unwatched
	// has the GPUs whose events the driver does not report.
	Watch(ctx context.Context, uuids []string, unwatched func(uuid string, err error), report func(Event)) error
	// Close ends the use of the driver.
	Close()
}
