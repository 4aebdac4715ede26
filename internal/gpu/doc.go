// Package gpu has what the agent for NVIDIA GPUs on a machine is made of. This package
// has the terms; the others are:
//
//	nvml     reads GPUs through the library of the driver
//	cdispec  says what a container gets, for the container runtime
//	plugin   offers the GPUs to the kubelet
//	holders  asks the kubelet which container has which GPU
//	metrics  writes what node-exporter shows
//	agent    brings them together
//
// The agent is the role "gpu". It only describes devices: the kubelet decides who gets
// which, and keeps that while the agent is away; the container runtime puts them into
// containers. So replacing the agent touches no container.
//
// No real GPU was at hand when this was written. The tests use a library with the
// functions of the driver, real device files, and a real kubelet and container runtime.
// Not tried: a real driver and its files, real Xid events, MIG, NVLink, and GPUs that
// fall off the bus.
package gpu
