package nvml

import (
	"bytes"
	"fmt"

	"pai.dev/pai/internal/gpu"
)

// maxDevices bounds what a driver says; machines have up to 16 GPUs.
const maxDevices = 64

// Driver is the version of the driver.
func (l *Library) Driver() (string, error) {
	version, err := l.text(func(p *byte, n uint32) result { return l.driverVersion(p, n) })
	if err != nil {
		return "", fmt.Errorf("read the version of the driver: %w", err)
	}
	return version, nil
}

// Devices lists the GPUs. One that cannot be read is in lost, by its index.
func (l *Library) Devices() (devices []gpu.Device, lost map[int]error, err error) {
	var n uint32
	if r := l.count(&n); r != success {
		return nil, nil, fmt.Errorf("count the GPUs: %w", l.err(r))
	}
	if n > maxDevices {
		return nil, nil, fmt.Errorf("the driver reports %d GPUs, more than %d", n, maxDevices)
	}
	lost = map[int]error{}
	for i := range int(n) {
		d, h, err := l.device(i)
		if err != nil {
			lost[i] = err
			continue
		}
		l.mu.Lock()
		l.known[d.UUID] = h
		l.mu.Unlock()
		devices = append(devices, d)
	}
	return devices, lost, nil
}

func (l *Library) device(index int) (gpu.Device, handle, error) {
	d := gpu.Device{Index: index}
	var h handle
	if r := l.byIndex(uint32(index), &h); r != success {
		return d, 0, fmt.Errorf("open GPU %d: %w", index, l.err(r))
	}
	var err error
	if d.UUID, err = l.text(func(p *byte, n uint32) result { return l.uuid(h, p, n) }); err != nil {
		return d, 0, fmt.Errorf("read the UUID of GPU %d: %w", index, err)
	}
	if d.Name, err = l.text(func(p *byte, n uint32) result { return l.name(h, p, n) }); err != nil {
		return d, 0, fmt.Errorf("read the name of GPU %d: %w", index, err)
	}
	var minor uint32
	if r := l.minor(h, &minor); r != success {
		return d, 0, fmt.Errorf("read the minor number of GPU %d: %w", index, l.err(r))
	}
	d.Minor = int(minor)
	var pci pciInfo
	if r := l.pci(h, &pci); r != success {
		return d, 0, fmt.Errorf("read the bus ID of GPU %d: %w", index, l.err(r))
	}
	d.BusID = untilNUL(pci.busID[:])
	if l.mig != nil {
		var current, pending uint32
		d.MIG = l.mig(h, &current, &pending) == success && current != 0
	}
	return d, h, nil
}

// text reads a string of up to 95 bytes, as all of the library that are read here.
func (l *Library) text(read func(*byte, uint32) result) (string, error) {
	buffer := make([]byte, 96)
	if r := read(&buffer[0], uint32(len(buffer))); r != success {
		return "", l.err(r)
	}
	return untilNUL(buffer), nil
}

func untilNUL(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}
