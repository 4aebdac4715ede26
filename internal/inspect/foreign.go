package inspect

import (
	"context"
	"path"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// foreign lists what is in directories of PAI and was not written by PAI. The
// directories of service volumes are among it: only the configuration knows them.
func (i *inspection) foreign(context.Context) error {
	i.report.Foreign = []string{}
	for dir, own := range map[string]func(name string) (bool, error){
		layout.ProgramsDir: i.ownProgram,
		layout.RolesDir:    func(name string) (bool, error) { return slices.Contains(layout.Roles(), layout.Role(name)), nil },
		layout.HelperDir:   func(name string) (bool, error) { return isHelper(name), nil },
		layout.ConfigDir: func(name string) (bool, error) {
			return slices.Contains(layout.ConfigFiles(), layout.ConfigDir+"/"+name), nil
		},
		layout.StateDir: func(name string) (bool, error) {
			return slices.Contains(ownState, name) || pai.IsReservedVolume(name), nil
		},
	} {
		names, err := i.names(dir)
		if err != nil {
			i.report.Foreign = nil
			return err
		}
		for _, name := range names {
			temporary := strings.HasSuffix(name, layout.IncompleteSuffix) || strings.HasPrefix(name, layout.TemporaryPrefix)
			found, err := own(name)
			i.problem(err, string(Foreign), dir+"/"+name)
			if !found && !temporary && err == nil {
				i.report.Foreign = append(i.report.Foreign, dir+"/"+name)
			}
		}
	}
	slices.Sort(i.report.Foreign)
	return nil
}

// ownProgram reports whether a name is a version, or a directory of PAI.
func (i *inspection) ownProgram(name string) (bool, error) {
	dir := layout.ProgramsDir + "/" + name
	if dir == layout.RolesDir || dir == layout.HelperDir {
		return true, nil
	}
	return i.exists(dir + "/" + layout.ReleaseFile)
}

// ownState are the names in layout.StateDir beside the reserved ones.
var ownState = []string{path.Base(layout.ClusterRecordFile), path.Base(layout.MaintenanceFile), path.Base(layout.RecoveryFile), path.Base(layout.DigestsFile), path.Base(layout.BackupStatusFile), "swap-kubelet.sh", "swap-kubelet.log",
	"replace-etcd.sh", "replace-etcd.log", "stop-serving.sh", "stop-serving.log"}
