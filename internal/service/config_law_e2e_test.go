//go:build e2e

package service

import (
	"io/fs"
	"testing"
)

// The law for the services whose charts come from modules.
func TestNewConfigurationWorksWithOldModules(t *testing.T) {
	lawHolds(t, func(t *testing.T, src source, name string) (fs.FS, bool) {
		for _, pin := range src.manifest.ServiceList {
			if pin.Name == name && pin.Chart != nil {
				return moduleChart(t, pin), true
			}
		}
		return nil, false
	})
}
