package natsconn

import (
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }
