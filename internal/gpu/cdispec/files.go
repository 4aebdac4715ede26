package cdispec

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDirs are where drivers put their libraries: Debian, Debian with several
// drivers, the installer of NVIDIA, and the Red Hat family.
func libraryDirs() []string {
	return []string{
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu/nvidia/current",
		"/usr/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu/nvidia/current",
		"/usr/lib64", "/usr/lib",
	}
}

// ManagementLibrary is the library that package nvml loads.
const ManagementLibrary = "libnvidia-ml.so.1"

// FindLibrary is the path of the management library below a root. It is only the name
// if the system has to find it.
func FindLibrary(root string) string {
	for _, dir := range libraryDirs() {
		path := filepath.Join(root, dir, ManagementLibrary)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ManagementLibrary
}

// libraries are the libraries of the driver that programs compute with. Those for
// screens are not for jobs.
func libraries() []string {
	return []string{
		"libcuda", "libcudadebugger", "libnvidia-ml", "libnvidia-cfg", "libnvidia-ptxjitcompiler", "libnvidia-nvvm",
		"libnvidia-nvvm70", "libnvidia-gpucomp", "libnvidia-pkcs11", "libnvidia-pkcs11-openssl3", "libnvidia-allocator",
		"libnvidia-opencl", "libnvidia-opticalflow", "libnvidia-encode", "libnvcuvid", "libnvidia-sandboxutils",
	}
}

// programs are the programs of the driver that jobs use.
func programs() []string {
	return []string{"nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"}
}

// A library is a file of the driver and the names under which it is loaded.
type library struct {
	path  string // on the machine, without links
	names []string
}

// findLibraries lists the libraries of one driver version. Their names end in that
// version; what is left of another driver is not among them.
func findLibraries(root, version string) ([]library, error) {
	var found []library
	for _, name := range libraries() {
		file := name + ".so." + version
		for _, dir := range libraryDirs() {
			path, err := resolve(root, filepath.Join(dir, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			names := append([]string{file}, aliases(filepath.Join(root, path), name)...)
			slices.Sort(names)
			found = append(found, library{path, slices.Compact(names)})
			break
		}
	}
	return found, nil
}

// aliases are the other names of a library: the one that programs are linked to, which
// the file has, and for libcuda the one that programs load.
func aliases(path, name string) []string {
	var names []string
	if name == "libcuda" {
		names = append(names, "libcuda.so")
	}
	f, err := elf.Open(path)
	if err != nil {
		return names // no library; programs see what is there
	}
	defer f.Close()
	if sonames, err := f.DynString(elf.DT_SONAME); err == nil {
		for _, soname := range sonames {
			if soname != "" && soname == filepath.Base(soname) {
				names = append(names, soname)
			}
		}
	}
	return names
}

// resolve follows the links of a path below a root, as a process in that root would.
func resolve(root, path string) (string, error) {
	const maxLinks = 16
	for range maxLinks {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if !info.Mode().IsRegular() {
				return "", fmt.Errorf("%s is not a file", path)
			}
			return path, nil
		}
		link, err := os.Readlink(filepath.Join(root, path))
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = filepath.Clean(link)
	}
	return "", fmt.Errorf("%s has too many links", path)
}

// findPrograms are the programs of the driver that exist, by their names.
func findPrograms(root string) (map[string]string, error) {
	found := map[string]string{}
	for _, name := range programs() {
		path, err := resolve(root, "/usr/bin/"+name)
		switch {
		case err == nil:
			found[name] = path
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return found, nil
}

// deviceFiles are the files that every program on a GPU needs, as far as they exist.
func deviceFiles(root string) []string {
	var found []string
	for _, name := range []string{"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"} {
		if isDevice(root, "/dev/"+name) {
			found = append(found, "/dev/"+name)
		}
	}
	return found
}

func isDevice(root, path string) bool {
	info, err := os.Stat(filepath.Join(root, path))
	return err == nil && strings.HasPrefix(path, "/dev/") && info.Mode()&fs.ModeCharDevice != 0
}
