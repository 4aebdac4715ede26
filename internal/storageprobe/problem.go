package storageprobe

import (
	"errors"
	"strings"
	"syscall"
	"unicode"
)

// Problem is what is wrong with a storage on a machine.
type Problem string

// The problems.
const (
	NoClient      Problem = "no-nfs-client"     // the machine has no mount.nfs
	NoKernel      Problem = "no-nfs-kernel"     // the kernel of the machine cannot mount NFS
	UnknownServer Problem = "server-unknown"    // its name has no address
	Silent        Problem = "server-silent"     // no answer in time
	NoServer      Problem = "no-nfs-server"     // the host refuses connections
	Refused       Problem = "export-refused"    // not for this machine
	NoExport      Problem = "export-missing"    // the server has no such directory
	WrongVersion  Problem = "nfs-version"       // no common version of NFS
	Missing       Problem = "directory-missing" // the machine has no such directory
	NotDirectory  Problem = "not-a-directory"
	NotReadable   Problem = "not-readable"
	NotWritable   Problem = "not-writable" // by root, as tasks usually are
	IsReadOnly    Problem = "read-only"    // it is mounted so, and the configuration has it writable
	Full          Problem = "full"
	Differs       Problem = "data-differs" // what was read is not what was written
	Failed        Problem = "failed"
)

// errDiffers: what was read is not what was written.
var errDiffers = errors.New("what was read is not what was written")

// failure is the result for an error of the file system. denied is the problem of an error of
// permissions.
func failure(err error, denied Problem) Result {
	problem := Failed
	for p, causes := range map[Problem][]error{
		Differs:      {errDiffers},
		IsReadOnly:   {syscall.EROFS},
		Full:         {syscall.ENOSPC, syscall.EDQUOT},
		Silent:       {syscall.ETIMEDOUT},
		denied:       {syscall.EACCES, syscall.EPERM},
		Missing:      {syscall.ENOENT},
		NotDirectory: {syscall.ENOTDIR},
	} {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				problem = p
			}
		}
	}
	return Result{Problem: problem, Detail: detailOf(err)}
}

// detailOf is an error in one line of bounded length, which a terminal can show.
func detailOf(err error) string { return Printable(err.Error()) }

// maxDetail bounds a Result.Detail, in bytes.
const maxDetail = 300

// Printable is a text of a machine or of a server in one line of bounded length, without
// characters that change a terminal.
func Printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	clean = strings.Join(strings.Fields(clean), " ")
	if len(clean) > maxDetail {
		clean = strings.ToValidUTF8(clean[:maxDetail], "") + "…"
	}
	return clean
}

// problems are all that a result can have.
func problems() []Problem {
	return []Problem{NoClient, NoKernel, UnknownServer, Silent, NoServer, Refused, NoExport, WrongVersion, Missing, NotDirectory,
		NotReadable, NotWritable, IsReadOnly, Full, Differs, Failed}
}
