package fleet

import (
	"database/sql"
	"fmt"

	"github.com/authprofile/authprofile/sqlstore"
)

// A Database is where a fleet keeps its grants.
type Database struct {
	Dialect sqlstore.Dialect
	Driver  string // must be registered in the test binary
	DSN     string
}

// Open returns the Store of a database, for one process.
func (d Database) Open() (*sqlstore.Store, *sql.DB, error) {
	db, err := sql.Open(d.Driver, d.DSN)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	store, err := sqlstore.New(db, d.Dialect, nil)
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", d.Dialect, err)
	}
	return store, db, nil
}
