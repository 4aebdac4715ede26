// Package cdispec describes GPUs for the container runtime, in a file of the Container
// Device Interface: which device files, libraries, and programs a container gets that
// asks for a GPU.
//
// Everything is a bind mount or a device file, which the runtime makes. There are no
// hooks: a hook is a program that runs as root on the file system of a container, and a
// container can prepare its file system. A library is mounted under each of its names,
// in the directories where the loaders of Debian and of the Red Hat family look, so that
// an image needs neither ldconfig nor links.
package cdispec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "tags.cncf.io/container-device-interface/specs-go"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/gpu"
)

// specVersion is the oldest version of the format that has all fields used here.
const specVersion = "0.6.0"

// inContainer are the directories for libraries in containers.
func inContainer() []string { return []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib64"} }

// Name is how the kubelet names a GPU to the runtime.
func Name(uuid string) string { return gpu.Resource + "=" + uuid }

// Make describes GPUs of a driver whose files are below root, which is "/" but for tests.
// missing has the GPUs without a device file, which no container can get.
func Make(root, driver string, devices []gpu.Device) (spec *specs.Spec, missing map[string]error, err error) {
	if driver == "" || strings.ContainsAny(driver, "/\x00") {
		return nil, nil, fmt.Errorf("the driver has the invalid version %q", driver)
	}
	edits, err := common(root, driver)
	if err != nil {
		return nil, nil, fmt.Errorf("find the files of driver %s: %w", driver, err)
	}
	spec = &specs.Spec{Version: specVersion, Kind: gpu.Resource, ContainerEdits: edits}
	missing = map[string]error{}
	for _, d := range devices {
		path := fmt.Sprintf("/dev/nvidia%d", d.Minor)
		if !isDevice(root, path) {
			missing[d.UUID] = fmt.Errorf("the device file %s of GPU %s is missing", path, d.UUID)
			continue
		}
		if !validName(d.UUID) {
			return nil, nil, fmt.Errorf("GPU %d has the invalid UUID %q", d.Index, d.UUID)
		}
		spec.Devices = append(spec.Devices, specs.Device{Name: d.UUID, ContainerEdits: specs.ContainerEdits{DeviceNodes: []*specs.DeviceNode{node(root, path)}}})
	}
	return spec, missing, nil
}

// common is what a container gets whatever its GPU is.
func common(root, driver string) (specs.ContainerEdits, error) {
	// Another runtime for NVIDIA GPUs on the machine adds nothing.
	edits := specs.ContainerEdits{Env: []string{"NVIDIA_VISIBLE_DEVICES=void"}}
	for _, path := range deviceFiles(root) {
		edits.DeviceNodes = append(edits.DeviceNodes, node(root, path))
	}
	found, err := findLibraries(root, driver)
	if err != nil {
		return edits, err
	}
	for _, l := range found {
		for _, dir := range inContainer() {
			for _, name := range l.names {
				edits.Mounts = append(edits.Mounts, mount(filepath.Join(root, l.path), dir+"/"+name))
			}
		}
	}
	tools, err := findPrograms(root)
	if err != nil {
		return edits, err
	}
	for _, name := range programs() {
		if path := tools[name]; path != "" {
			edits.Mounts = append(edits.Mounts, mount(filepath.Join(root, path), "/usr/bin/"+name))
		}
	}
	return edits, nil
}

func node(root, path string) *specs.DeviceNode {
	return &specs.DeviceNode{Path: path, HostPath: filepath.Join(root, path)}
}

// mount makes a file of the machine visible. The file cannot be changed, and programs on
// it get no further rights.
func mount(from, to string) *specs.Mount {
	return &specs.Mount{HostPath: from, ContainerPath: to, Type: "bind", Options: []string{"ro", "nosuid", "nodev", "rbind", "rprivate"}}
}

// validName reports whether a device can have a name.
func validName(name string) bool {
	valid := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool { return !valid(r) }) &&
		!slices.Contains([]byte("-_."), name[0]) && !slices.Contains([]byte("-_."), name[len(name)-1])
}

// Write writes the file if it differs. The runtime notices a new one.
func Write(path string, spec *specs.Spec) error {
	data, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return fmt.Errorf("describe the GPUs for the container runtime: %w", err)
	}
	data = append(data, '\n')
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("describe the GPUs for the container runtime: %w", err)
	}
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return fmt.Errorf("describe the GPUs for the container runtime: %w", err)
	}
	return nil
}

// Remove removes the file.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the description of the GPUs: %w", err)
	}
	return nil
}
