package run

import "time"

// Expiry is after how long without a sign of life a lock expires.
const Expiry time.Duration = defaultExpiry

// LockFile is where the lock with a number is kept: its holder writes it with
// each sign of life.
func LockFile(number int) string { return lockFile(number) }
