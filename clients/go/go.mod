module github.com/packhorse/packhorse/clients/go

go 1.24
