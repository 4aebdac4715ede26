package rest

import (
	"fmt"

	"pai.dev/pai/internal/pai"
)

// reason is why a request fails, with the code and the text that clients of OpenPAI
// compare. Error and hint are those of PAI.
type reason struct {
	code, message string
	err           error
}

func (r *reason) Error() string { return r.err.Error() }
func (r *reason) Unwrap() error { return r.err }

// The codes of a login that is refused. The portal knows them, too.
const (
	codeNoUser        = "NoUserError"
	codeWrongPassword = "IncorrectPasswordError" //nolint:gosec // no password
)

// noConfig is the error for the text of a job, which exists.
func noConfig(id JobID) error {
	return &reason{"NoJobConfigError", fmt.Sprintf("Config of job %s is not found.", id),
		pai.Errorf(pai.CodeNotFound, "use your own copy of it", "the configuration of job %s is missing: the cluster lost its text", id)}
}

func noUser(name string) error {
	return &reason{codeNoUser, fmt.Sprintf("User %s is not found.", name),
		pai.Errorf(pai.CodeNotFound, "for the users, run: paictl user list", "user %q not found", name)}
}

func userExists(name string) error {
	return &reason{"ConflictUserError", fmt.Sprintf("User name %s already exists.", name),
		pai.Errorf(pai.CodeConflict, "choose another name, or change the user; run: paictl user update", "user %q already exists", name)}
}

func noGroup(name string) error {
	return &reason{"NoGroupError", fmt.Sprintf("Group %s is not found.", name),
		pai.Errorf(pai.CodeNotFound, "for the groups, run: paictl group list", "group %q not found", name)}
}

func groupExists(name string) error {
	return &reason{"ConflictGroupError", fmt.Sprintf("Group name %s already exists.", name),
		pai.Errorf(pai.CodeConflict, "choose another name, or change the group; run: paictl group update", "group %q already exists", name)}
}

func builtInGroup(name string) error {
	return &reason{"ForbiddenKeyError", fmt.Sprintf("Key %s is system reserved and should not be modified!", name),
		pai.Errorf(pai.CodeRefused, "", "group %q always exists", name)}
}

func noVirtualCluster(name string) error {
	return &reason{"NoVirtualClusterError", fmt.Sprintf("Virtual cluster %s is not found.", name),
		pai.Errorf(pai.CodeNotFound, "name one that services-configuration.yaml has", "virtual cluster %q not found", name)}
}

func noStorage(name string) error {
	return &reason{"NoStorageError", fmt.Sprintf("Storage %s is not found.", name),
		pai.Errorf(pai.CodeNotFound, "for those that you can use, run: paictl storage list", "storage %q not found", name)}
}

func removesAdmin(name string) error {
	return &reason{"RemoveAdminError", fmt.Sprintf("Admin %s is not allowed to remove.", name),
		pai.Errorf(pai.CodeRefused, "first remove the right: paictl user update "+name+" --admin=false", "user %q is an administrator", name)}
}

func wrongPassword() error {
	return &reason{codeWrongPassword, "Password is incorrect.",
		pai.Errorf(pai.CodeForbidden, "an administrator can set another one; run: paictl user update --password", "the password is wrong")}
}

func invalidParameters(format string, args ...any) error {
	err := pai.Errorf(pai.CodeInvalid, "", format, args...)
	return &reason{"InvalidParametersError", err.Error(), err}
}
