package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver of SQLite

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
	"github.com/authprofile/authprofile/sqlstore"
)

// A database is what a command works on.
type database struct {
	db    *sql.DB
	inner authprofile.Store // with secrets encrypted
	store authprofile.Store // sealed by keys
	keys  *keyring
}

// A location says where a database is.
type location struct {
	dialect sqlstore.Dialect
	path    string // of SQLite's file
	text    string // the address, of a server
}

// String returns the location without what may be secret in it.
func (l location) String() string {
	if l.dialect == sqlstore.SQLite {
		return l.path
	}
	name := "the MySQL database"
	if l.dialect == sqlstore.Postgres {
		name = "the PostgreSQL database"
	}
	u, err := url.Parse(l.text)
	if err != nil || u.Host == "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") { // a password may be in the wrong part
		return name
	}
	return name + " " + strings.TrimPrefix(u.Path, "/") + " at " + u.Host
}

// location finds out where the database is.
func (a *app) location() (location, error) {
	text := a.setting(a.flags.store, "AUTHPROFILE_STORE")
	if text == "" {
		dir, err := a.folder()
		return location{dialect: sqlstore.SQLite, path: filepath.Join(dir, "authprofile.db")}, err
	}
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "sqlite":
		if rest == "" || strings.HasPrefix(rest, ":") {
			return location{}, usageError{problem: "--store sqlite: needs the path of a file"}
		}
		path, err := filepath.Abs(rest)
		return location{dialect: sqlstore.SQLite, path: path}, err
	case "postgres", "postgresql", "mysql", "mariadb":
		if a.flags.store != "" && hasPassword(text) {
			return location{}, usageError{problem: "a password in --store can be seen by other users of this machine: put the address into the environment variable AUTHPROFILE_STORE"}
		}
		if scheme == "mysql" || scheme == "mariadb" {
			return location{dialect: sqlstore.MySQL, text: text}, nil
		}
		return location{dialect: sqlstore.Postgres, text: text}, nil
	}
	return location{}, usageError{problem: "the address of the database must begin with sqlite:, postgres:// or mysql://"}
}

// hasPassword reports whether an address has a password in it, or may have: one
// that is not a URL is not looked into.
func hasPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return true
	}
	_, set := u.User.Password()
	for name := range u.Query() {
		set = set || strings.Contains(strings.ToLower(name), "password")
	}
	return set
}

// openDatabase opens the database and the key ring.
func (a *app) openDatabase(ctx context.Context, access access) (_ *database, err error) {
	l, err := a.location()
	if err != nil {
		return nil, err
	}
	if l.dialect == sqlstore.SQLite {
		if err := a.prepareFile(l.path, access); err != nil {
			return nil, err
		}
	}
	db, err := l.connect()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	prefix := a.setting(a.flags.tablePrefix, "AUTHPROFILE_TABLE_PREFIX")
	inner, err := sqlstore.New(db, l.dialect, &sqlstore.Options{TablePrefix: prefix})
	if err != nil {
		return nil, usageError{problem: "--table-prefix: " + strings.TrimPrefix(err.Error(), "sqlstore: ")}
	}
	state, err := schemaOf(ctx, db, l, prefix)
	if err != nil {
		return nil, err
	}
	switch {
	case state == schemaNewer:
		return nil, fmt.Errorf("%s has tables of a newer release: install a newer authprofile", l)
	case state == schemaMissing && access != create:
		return nil, fmt.Errorf(`%s has no tables yet: "authprofile profile add" makes them`, l)
	case state == schemaCurrent && l.dialect == sqlstore.SQLite: // there are no settings to look at, either
	default:
		if err := inner.Migrate(ctx); err != nil {
			return nil, databaseError(l, err)
		}
	}
	keys, err := a.openKeys(ctx, inner, access)
	if err != nil {
		return nil, err
	}
	return &database{db: db, inner: inner, store: sealed.New(inner, keys.ring), keys: keys}, nil
}

// prepareFile makes sure that SQLite's file is one that only its owner can read,
// and makes it if it is to be made.
func (a *app) prepareFile(path string, access access) error {
	switch err := checkPrivate("the database", path); {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	case access != create:
		return fmt.Errorf(`there is no database %s yet: "authprofile profile add" makes it, or say with --store where it is`, path)
	}
	return makePrivate("the database", path, nil)
}

// checkPrivate makes sure that a file is one that only this user can use. Others
// could replace what a symbolic link leads to.
func checkPrivate(what, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return fmt.Errorf("%s cannot be read: %w", what, err)
	}
	return checkInfo(what, path, info)
}

func checkInfo(what, path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s %s is a symbolic link: name the file that it leads to: %s", what, path, shell("realpath", path))
	case info.IsDir():
		return fmt.Errorf("%s %s is a directory: name a file in it", what, path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s %s is not a file", what, path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows": // where the bits say nothing
		return fmt.Errorf("%s %s can be used by other users of this machine: %s", what, path, shell("chmod", "600", path))
	case isForeign(info):
		return fmt.Errorf("%s %s belongs to another user of this machine: run authprofile as that user, or: %s", what, path, shell("chown", strconv.Itoa(os.Geteuid()), path))
	}
	return nil
}

// readPrivate reads a file that only this user can use. It is checked once more when
// it is open, as it may have been replaced meanwhile.
func readPrivate(what, path string) ([]byte, error) {
	if err := checkPrivate(what, path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = checkInfo(what, path, info)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", what, err)
	}
	return text, nil
}

// makePrivate makes a file that only its owner can read, in folders that others
// cannot enter unless they were there before. It is there whole or not at all. If
// there is one already, which another process has just made, that is no error.
func makePrivate(what, path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%s cannot be made: %w", what, err)
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // which is its owner's alone
	if err != nil {
		return fmt.Errorf("%s cannot be made: %w", what, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s cannot be written: %w", what, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s cannot be made: %w", what, err)
	}
	return nil
}

// shell writes a command as it is typed.
func shell(words ...string) string {
	for i, w := range words {
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,") != "" {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// connect returns a pool of connections. SQLite's file is opened with the first of
// them, and a server is not asked yet.
func (l location) connect() (*sql.DB, error) {
	switch l.dialect {
	case sqlstore.SQLite:
		path := filepath.ToSlash(l.path)
		if !strings.HasPrefix(path, "/") { // C:/...
			path = "/" + path
		}
		u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"}
		return sql.Open("sqlite", u.String())
	case sqlstore.Postgres:
		config, err := pgx.ParseConfig(l.text)
		if err != nil {
			return nil, usageError{problem: "the address of the PostgreSQL database is not one: it is postgres://USER@HOST:PORT/NAME"}
		}
		os.Unsetenv("PGPASSWORD") // no child needs it
		if config.ConnectTimeout == 0 {
			config.ConnectTimeout = connectTimeout
		}
		return stdlib.OpenDB(*config), nil
	}
	config, err := mysqlConfig(l.text)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, usageError{problem: "the address of the MySQL database is not one: it is mysql://USER@HOST:PORT/NAME"}
	}
	return sql.OpenDB(connector), nil
}

const connectTimeout = 10 * time.Second

// mysqlConfig reads an address in the form of a URL; the driver has a form of its
// own, whose settings can stand in the query.
func mysqlConfig(text string) (*mysql.Config, error) {
	wrong := usageError{problem: "the address of the MySQL database is not one: it is mysql://USER@HOST:PORT/NAME"}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return nil, wrong
	}
	base := mysql.NewConfig()
	base.Net, base.Addr = "tcp", u.Host
	if u.Port() == "" {
		base.Addr = u.Hostname() + ":3306"
		if strings.Contains(u.Hostname(), ":") {
			base.Addr = "[" + u.Hostname() + "]:3306"
		}
	}
	base.DBName = strings.Trim(u.Path, "/")
	base.Timeout = connectTimeout
	dsn := base.FormatDSN()
	if u.RawQuery != "" {
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		dsn += separator + u.RawQuery
	}
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, wrong
	}
	config.User = u.User.Username() // which, as the password, may have any character
	config.Passwd, _ = u.User.Password()
	config.Logger = &mysql.NopLogger{}
	return config, nil
}

// A schema says which tables a database has.
type schema int

const (
	schemaMissing schema = iota
	schemaOlder
	schemaCurrent
	schemaNewer
)

// schemaOf compares the tables of a database with those that this program knows.
func schemaOf(ctx context.Context, db *sql.DB, l location, prefix string) (schema, error) {
	if err := db.PingContext(ctx); err != nil {
		return 0, databaseError(l, err)
	}
	statements, err := sqlstore.Schema(l.dialect, &sqlstore.Options{TablePrefix: prefix})
	if err != nil {
		return 0, err
	}
	if prefix == "" {
		prefix = "authprofile_"
	}
	known := int64(strings.Count(statements, "INSERT INTO "+prefix+"schema "))
	var newest sql.NullInt64
	err = db.QueryRowContext(ctx, "SELECT MAX(step) FROM "+prefix+"schema").Scan(&newest)
	switch code, _ := databaseCode(err); {
	case err != nil && code.missingTable():
		return schemaMissing, nil
	case err != nil:
		return 0, databaseError(l, err)
	case !newest.Valid:
		return schemaMissing, nil
	case newest.Int64 > known:
		return schemaNewer, nil
	case newest.Int64 < known:
		return schemaOlder, nil
	}
	return schemaCurrent, nil
}
