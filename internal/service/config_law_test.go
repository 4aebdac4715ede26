package service

import (
	"io/fs"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/configtest"
)

// lawHolds checks that new configuration works with old services: an older
// release renders the same objects from a configuration before and after its
// upgrade to the schema of any newer release.
func lawHolds(t *testing.T, chartOf func(t *testing.T, src source, name string) (chart fs.FS, ours bool)) {
	root := configtest.Root(t)
	all := sources(t)
	for i, src := range all {
		for _, newer := range all[i+1:] {
			to := pai.Pair{Services: newer.manifest.Services.Version, Kubernetes: newer.manifest.Kubernetes.Version}
			var services []Service
			for _, pin := range src.manifest.ServiceList {
				if chart, ours := chartOf(t, src, pin.Name); ours {
					services = append(services, oneService(t, src, pin.Name, chart))
				}
			}
			if len(services) == 0 {
				t.Fatalf("release %s has no services to render", src.manifest.Metadata.Name)
			}
			t.Run(string(src.manifest.Metadata.Name+" to "+newer.manifest.Metadata.Name), rapid.MakeCheck(func(t *rapid.T) {
				before, after := configtest.Older().Draw(t, "configuration").BeforeAndAfter(t, root, to)
				if after.Pair() != to {
					t.Fatalf("got %v after the upgrade, want %v", after.Pair(), to)
				}
				for _, s := range services {
					if a, b := objectsOf(t, s, before, src), objectsOf(t, s, after, src); !reflect.DeepEqual(a, b) {
						t.Fatalf("%s of release %s: got before the upgrade\n%v\nand after it\n%v", s.Name, src.manifest.Metadata.Name, a, b)
					}
				}
			}))
		}
	}
}

func objectsOf(t *rapid.T, s Service, cfg *config.Config, src source) []map[string]any {
	objs, err := Render(t.Context(), s, cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for _, o := range objs {
		all = append(all, o.Object)
	}
	return all
}

func TestNewConfigurationWorksWithOldServices(t *testing.T) {
	t.Parallel()
	lawHolds(t, func(_ *testing.T, src source, name string) (fs.FS, bool) {
		for _, pin := range src.manifest.ServiceList {
			if pin.Name == name {
				return nil, pin.Chart == nil
			}
		}
		return nil, false
	})
}
