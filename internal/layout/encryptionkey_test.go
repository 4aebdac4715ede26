package layout

import "testing"

func TestKeyNames(t *testing.T) {
	t.Parallel()
	for name, number := range map[string]int{"key1": 1, "key12-20261129": 12, "key0": 0, "key1-2026": 0, "key1\n": 0, "": 0, "key1:x": 0, "key1234567": 0} {
		if KeyNumber(name) != number || (CheckKeyName(name) == nil) != (number > 0) {
			t.Errorf("%q: got %d, %v, want %d", name, KeyNumber(name), CheckKeyName(name), number)
		}
	}
}
