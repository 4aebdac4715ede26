package nvml

import (
	"fmt"

	"pai.dev/pai/internal/gpu"
)

// Constants of the library.
const (
	sensorGPU        = 0
	eccCorrected     = 0
	eccUncorrected   = 1
	sinceDriverStart = 0
	maxLinks         = 18
	linkCounters     = 4
)

// Sample reads what a GPU measures. It fails only if the GPU is not responding.
func (l *Library) Sample(uuid string) (gpu.Sample, error) {
	l.mu.Lock()
	h, found := l.known[uuid]
	l.mu.Unlock()
	if !found {
		return gpu.Sample{}, fmt.Errorf("GPU %s not found", uuid)
	}
	var s gpu.Sample
	r := reader{library: l}
	r.memory(h, &s)
	r.utilization(h, &s)
	r.number(&s.PowerWatts, 1e-3, l.power != nil, func(n *uint32) result { return l.power(h, n) })
	r.number(&s.Celsius, 1, l.temperature != nil, func(n *uint32) result { return l.temperature(h, sensorGPU, n) })
	r.counter(&s.ECCCorrected, l.ecc != nil, func(n *uint64) result { return l.ecc(h, eccCorrected, sinceDriverStart, n) })
	r.counter(&s.ECCUncorrected, l.ecc != nil, func(n *uint64) result { return l.ecc(h, eccUncorrected, sinceDriverStart, n) })
	r.links(h, &s)
	if r.lost {
		return gpu.Sample{}, fmt.Errorf("GPU %s: %w", uuid, l.err(gpuLost))
	}
	return s, nil
}

// reader notes whether a GPU is lost. What a GPU does not have stays nil.
type reader struct {
	library *Library
	lost    bool
}

func (r *reader) ok(of result) bool {
	r.lost = r.lost || of == gpuLost
	return of == success
}

func (r *reader) number(to **float64, unit float64, exists bool, read func(*uint32) result) {
	var n uint32
	if exists && r.ok(read(&n)) {
		value := float64(n) * unit
		*to = &value
	}
}

func (r *reader) counter(to **float64, exists bool, read func(*uint64) result) {
	var n uint64
	if exists && r.ok(read(&n)) {
		value := float64(n)
		*to = &value
	}
}

func (r *reader) memory(h handle, s *gpu.Sample) {
	var m memory
	if r.library.memory != nil && r.ok(r.library.memory(h, &m)) {
		total, used := float64(m.total), float64(m.used)
		s.MemoryTotal, s.MemoryUsed = &total, &used
	}
}

func (r *reader) utilization(h handle, s *gpu.Sample) {
	var u utilization
	if r.library.utilization != nil && r.ok(r.library.utilization(h, &u)) {
		ofGPU, ofMemory := float64(u.gpu)/100, float64(u.memory)/100
		s.Utilization, s.MemoryUtilization = &ofGPU, &ofMemory
	}
}

// links counts the NVLinks that are up, and the errors of all of them.
func (r *reader) links(h handle, s *gpu.Sample) {
	l := r.library
	if l.linkState == nil {
		return
	}
	var active, failed float64
	found, counted := false, false
	for link := range uint32(maxLinks) {
		var up uint32
		if !r.ok(l.linkState(h, link, &up)) {
			continue
		}
		found = true
		if up == 0 {
			continue
		}
		active++
		for counter := range uint32(linkCounters) {
			var n uint64
			if l.linkErrors != nil && r.ok(l.linkErrors(h, link, counter, &n)) {
				failed, counted = failed+float64(n), true
			}
		}
	}
	if found {
		s.NVLinksActive = &active
	}
	if counted {
		s.NVLinkErrors = &failed
	}
}
