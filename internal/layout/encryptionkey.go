package layout

import (
	"fmt"
	"regexp"
	"strconv"
)

// MaxEncryptionKeys bounds the keys in EncryptionFile. Older keys decrypt Secrets of older
// snapshots.
const MaxEncryptionKeys = 20

// keyName is what PAI names keys: "key1" is made with the cluster, later ones have the day
// of their rotation, "key2-20261129".
var keyName = regexp.MustCompile(`^key([1-9][0-9]{0,5})(-[0-9]{8})?$`)

// CheckKeyName returns an error unless PAI can have given an encryption key this name.
func CheckKeyName(name string) error {
	if !keyName.MatchString(name) {
		return fmt.Errorf("%q is not the name of an encryption key, such as key2-20261129", name)
	}
	return nil
}

// KeyNumber is the number in the name of an encryption key; 0 if it has none.
func KeyNumber(name string) int {
	m := keyName.FindStringSubmatch(name)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // the pattern has digits only
	return n
}
