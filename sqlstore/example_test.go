package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// The application opens the database, with a driver that it imports. Migrate
// may run at every start of every replica.
func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.Postgres, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	m := &authprofile.Manager{Store: store, RedirectURL: "https://app.example.com/oauth/{profile}"}
	defer m.Shutdown(ctx)
}

// Teams that have migrations of their own take the statements from Schema.
func ExampleSchema() {
	statements, err := sqlstore.Schema(sqlstore.MySQL, &sqlstore.Options{TablePrefix: "auth_"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(statements[:len("CREATE TABLE")])
	// Output:
	// CREATE TABLE
}
