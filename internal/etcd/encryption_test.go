package etcd

import "testing"

func TestKeyOfStoredValue(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"k8s:enc:secretbox:v1:key2-20261129:\x00:bytes": "key2-20261129",
		"k8s:enc:secretbox:v1:key1:":                    "key1",
		"k8s:enc:secretbox:v1:key1":                     "", // torn
		"k8s:enc:aescbc:v1:key1:bytes":                  "",
		"k8s\x00\n\x0c\n\x02v1":                         "",
		"":                                              "",
	} {
		if got := keyOf([]byte(value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}
