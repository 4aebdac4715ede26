package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	postgresqlConnections = 8
	connectTimeout        = 5 * time.Second
)

// errConnectionString has no part of the string: it has a password.
var errConnectionString = errors.New("the connection string of the history is not one of PostgreSQL, such as postgres://user:password@host/database, or names a file that cannot be read")

// OpenPostgreSQL opens a database of PostgreSQL. The connection string has a password;
// no error has a part of it.
func OpenPostgreSQL(ctx context.Context, connection string) (*Store, error) {
	config, err := pgx.ParseConfig(connection)
	if err != nil || connection == "" {
		return nil, errConnectionString
	}
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["application_name"] = "pai-rest-server"
	// The server ends what its client no longer waits for.
	config.RuntimeParams["statement_timeout"] = "60000"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "60000"
	db, checks := stdlib.OpenDB(*config), stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresqlConnections)
	for _, d := range []*sql.DB{db, checks} {
		d.SetConnMaxLifetime(10 * time.Minute) // another server can have taken over
	}
	s, err := open(ctx, db, checks, postgresql{}, func() error { return nil })
	if err != nil {
		return nil, fmt.Errorf("open the history in PostgreSQL: %w", err)
	}
	return s, nil
}
