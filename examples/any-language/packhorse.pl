#!/usr/bin/env perl
# A whole client of the Packhorse protocol, version 1. The environment's PACKHORSE_URL names the broker (tcp://host:port).
#   packhorse.pl create TYPE [PAYLOAD]    creates a job and prints its id; the PAYLOAD - is read from standard input
#   packhorse.pl run TYPE COMMAND...      runs jobs: payload to standard input, result from standard output
#   packhorse.pl handle TYPE PAYLOAD      creates a job, waits for its outcome and prints the result
use v5.36;

package MsgPack {    # A text is a plain string of characters, a binary a reference to its bytes.
    no warnings 'experimental::builtin';
    use Encode ();
    my %SMALL = (integer => [0, 128], map => [0x80, 16], array => [0x90, 16], text => [0xa0, 32]);    # first byte, below
    my %LARGE = (    # the first byte, and how `pack` calls the number behind it, behind the byte after it, and so on
        binary => [0xc4, qw(C n N)], integer => [0xcc, qw(C n N Q> c s> l> q>)], text => [0xd9, qw(C n N)],
        array => [0xdc, qw(n N)], map => [0xde, qw(n N)]);

    sub head ($kind, $number) {    # the shortest start of a value; no negative number is sent
        return chr($SMALL{$kind}[0] + $number) if $SMALL{$kind} && $number < $SMALL{$kind}[1];
        my ($byte, @formats) = $LARGE{$kind}->@*;
        for (@formats) { $number < 256**length pack($_, 0) ? return pack "C$_", $byte, $number : $byte++ }
    }

    sub encode ($value) {
        return head(map => scalar keys %$value) . join '', map { encode($_) } %$value if ref $value eq 'HASH';
        return head(array => scalar @$value) . join '', map { encode($_) } @$value if ref $value eq 'ARRAY';
        return $value ? "\xc3" : "\xc2" if builtin::is_bool($value);
        return head(integer => $value) if builtin::created_as_number($value);
        my ($kind, $bytes) = ref $value ? (binary => $$value) : (text => Encode::encode('UTF-8', $value));
        return head($kind, length $bytes) . $bytes;
    }

    sub decode ($reader, $depth = 0) {    # takes the next value of the reader: { body => bytes, at => position }
        my $byte = ord take($reader, 1);
        return $byte < 0x80 ? $byte : $byte - 256 if $byte < 0x80 || $byte >= 0xe0;
        return (undef, undef, !!0, !!1)[$byte - 0xc0] if $byte == 0xc0 || $byte == 0xc2 || $byte == 0xc3;
        my ($kind, $number) = $byte < 0xa0 ? ($byte < 0x90 ? 'map' : 'array', $byte & 15) : (text => $byte & 31);
        if ($byte >= 0xc0) {
            ($kind) = grep { $byte >= $LARGE{$_}[0] && $byte - $LARGE{$_}[0] < $LARGE{$_}->$#* } keys %LARGE;
            my $format = $LARGE{ $kind // die "the broker sent what has no place here\n" }[$byte - $LARGE{$kind}[0] + 1];
            $number = unpack $format, take($reader, length pack $format, 0);
        }
        return $number <= ~0 >> 1 ? $number : die "the broker sent too large a number\n" if $kind eq 'integer';
        return \take($reader, $number) if $kind eq 'binary';
        return Encode::decode('UTF-8', take($reader, $number), Encode::FB_CROAK) if $kind eq 'text';
        die "the broker sent too much in a frame\n" if $depth > 32 || ($reader->{elements} += $number || 1) > 200_000;
        my @items = map { decode($reader, $depth + 1) } 1 .. $number * ($kind eq 'map' ? 2 : 1);
        return $kind eq 'map' ? +{@items} : \@items;
    }

    sub take ($reader, $count) {
        die "the broker sent half a value\n" if $reader->{at} + $count > length $reader->{body};
        return substr $reader->{body}, ($reader->{at} += $count) - $count, $count;
    }
}

package Broker {    # A broker as its client sees it. Where it is lost we connect again and resume.
    use IO::Select;
    use IO::Socket::IP;
    use Socket qw(IPPROTO_TCP TCP_NODELAY MSG_NOSIGNAL);
    use Time::HiRes qw(time sleep);
    sub new ($class) { return bless({ requests => 0, pushes => [] }, $class)->connect }
    sub write ($self, $message) { $self->{output} .= pack 'N/a*', MsgPack::encode($message); $self->{sent_at} = time }

    sub connect ($self) {
        my @to = (PeerAddr => ($ENV{PACKHORSE_URL} // '127.0.0.1:7225') =~ s{^tcp://}{}r, Timeout => 5);
        $self->{socket} = IO::Socket::IP->new(@to, Sockopts => [[IPPROTO_TCP, TCP_NODELAY]]) or die "lost: no broker: $@\n";
        $self->{socket}->blocking(0);
        $self->@{qw(input output heard_at limits heartbeat_ms timeout_ms)} = ('', '', time, { frame_bytes => 16384 }, 9e9, 5000);
        my @known = $self->{client} ? (client => $self->{client}, secret => $self->{secret}) : ();
        $self->write({ t => 'hello', versions => [1], library => 'packhorse.pl', @known });
        $self->exchange until $self->{answers}{welcome};
        my $welcome = delete $self->{answers}{welcome};
        die "the broker speaks another version\n" if $welcome->{version} != 1;
        die "the broker gave us up\n" if @known && !($welcome->{resumed} && $welcome->{registered_at} == $self->{registered_at});
        $self->{$_} = $welcome->{$_} for qw(client secret registered_at heartbeat_ms timeout_ms limits);
        return ++$self->{connections} && $self;
    }

    sub exchange ($self) {    # receives and sends what there is, and waits a moment for it; unknown tags are ignored
        my $socket = IO::Select->new($self->{socket});
        IO::Select->select($socket, length $self->{output} ? $socket : undef, undef, 0.1);
        my $read = sysread $self->{socket}, $self->{input}, 262_144, length $self->{input};
        $self->{heard_at} = time if $read;
        while (length $self->{input} >= 4) {
            my $length = unpack 'N', $self->{input};
            die "the broker sent a frame of $length bytes\n" if $length < 1 || $length > $self->{limits}{frame_bytes};
            last if length $self->{input} < 4 + $length;
            my $message = MsgPack::decode({ body => substr($self->{input}, 0, 4 + $length, ''), at => 4 });
            my ($tag, $items) = ($message->{t}, $message->{claims} // $message->{outcomes});
            die "lost: the broker is going away\n" if $tag eq 'drain';
            die +($message->{retryable} ? 'lost: ' : '') . main::show($message) if $message->{closing};
            $self->{answers}{ $message->{id} // $tag } = $message if $tag =~ /^(welcome|ok|error)$/;
            push @{ $self->{pushes} }, map { { push => $tag, %$_ } } @$items if $tag =~ /^(claims|cancelling|revoke|outcomes)$/;
        }
        my $sent = send $self->{socket}, $self->{output}, MSG_NOSIGNAL;
        die "lost: the connection has ended\n" if defined $read && $read == 0 || !defined $sent && !$!{EAGAIN};
        substr $self->{output}, 0, $sent // 0, '';
        die "lost: the broker is silent\n" if time - $self->{heard_at} > $self->{timeout_ms} / 1000;
        $self->write({ t => 'beat' }) if time - $self->{sent_at} >= $self->{heartbeat_ms} / 1000;
    }

    sub step ($self) {    # an exchange that connects again if it has to
        my $done = eval { $self->exchange; 1 };
        for (my $pause = 0.2; !$done; $pause = $pause < 5 ? $pause * 2 : 10) {
            $@ =~ /^lost: / ? warn $@ : die $@;
            sleep $pause * (0.5 + rand 0.5);
            $done = eval { $self->connect };
        }
    }

    sub request ($self, %message) {    # gives the first entry of the answer, and why it was refused if it was
        my ($sent_on, $pause) = (0, 0.5);
        for (my $id = $message{id} = ++$self->{requests};; $self->step) {
            $self->write(\%message) if $sent_on != $self->{connections};    # also anew: all that we ask for may be repeated
            $sent_on = $self->{connections};
            my $answer  = delete $self->{answers}{$id} or next;
            my $refused = $answer->{t} eq 'error' ? $answer : $answer->{results}[0]{problem};
            return $answer->{results}[0], $refused if !$refused || !$refused->{retryable} || ($pause *= 2) > 64;
            my $again_at = time + ($refused->{retry_after_ms} // $pause * 500) / 1000;
            $self->step while time < $again_at;
            $sent_on = 0;
        }
    }
}

package main;
my ($command, $type, @rest) = @ARGV;
die "the head of $0 tells how to call it\n" if @ARGV < 2 || !{ create => 1, run => @ARGV > 2, handle => @ARGV > 2 }->{$command};
binmode STDERR, ':utf8';
my ($broker, $running, $status) = Broker->new;    # the broker, the claim whose command runs, and what the shell is told
END { kill KILL => -$running->{pid} if $running; $? = $? || $status ? 1 : 0 }
sub show ($problem) { return "$problem->{code}: $problem->{message}\n" =~ s/[^\P{Cc}\n\t]/?/gr }    # no escape sequences

sub create ($type, $payload = '', $handle = !!0) {
    $payload = join '', <STDIN> if $payload eq '-';
    die "too_large: the payload\n" if length $payload > $broker->{limits}{payload_bytes};
    open my $random, '<:raw', '/dev/urandom' or die "no random bytes: $!\n";
    read $random, my $id, 16;    # a job with an id of our own is created once, also by a repeated request
    my %job = (id => unpack('H*', $id), type => $type, payload => \$payload);
    my ($created, $refused) = $broker->request(t => 'create', jobs => [\%job], handle => $handle);
    return $refused ? die show($refused) : $created->{job};
}

sub handle ($type, $payload) {
    my ($job, $outcome) = create($type, $payload, !!1);
    for (; !$outcome; $broker->step) { ($outcome) = grep { $_->{job} eq $job } splice $broker->{pushes}->@* }
    my ($result, $error) = $outcome->@{qw(result error)};
    my @why = grep { length } $outcome->@{qw(reason expired)}, $error->{type};
    $result ? print $$result : print STDERR show({ code => "@why", message => $error->{message} // '' });
    close STDOUT or die "the result could not be written: $!\n";
    $broker->request(t => 'handled', jobs => [$job]);
    $status = !$result;
}

sub run ($type, @command) {
    my ($told, $leaving, $ended) = (0, 0, '');    # which connection knows what we take, a signal came, the last token
    $SIG{INT} = $SIG{TERM} = sub { $leaving++ and die "left at once\n" }; $SIG{CHLD} = sub { };    # signals end a step's wait
    for (; $running || !$leaving; $broker->step) {
        my @take = (t => 'take', types => { $type => 1 }, credit => 1);
        my (undef, $refused) = $told == $broker->{connections} ? () : $broker->request(@take);
        $told = $refused ? die show($refused) : $broker->{connections};
        for my $claim (splice $broker->{pushes}->@*) {
            my $known = $claim->{token}->$* eq ($running ? $running->{token}->$* : $ended);    # again, after a resume
            push $broker->{pushes}->@*, $claim if $claim->{push} eq 'claims' && !$known && $running;    # it waits for the other
            start($running = $claim, @command) if $claim->{push} eq 'claims' && !$known && !$running;
            my $signal = { cancelling => 'TERM', revoke => 'KILL' }->{ $claim->{push} };
            kill $signal => -$running->{pid} if $signal && $known && $running;
        }
        next if !$running || waitpid($running->{pid}, POSIX::WNOHANG) <= 0;
        finish($running, $?);
        ($ended, $running) = ($running->{token}->$*, undef);
    }
    $broker->request(t => 'take', types => {}, credit => 0);
    my @left = grep { $_->{push} eq 'claims' && $_->{token}->$* ne $ended } splice $broker->{pushes}->@*;
    $broker->request(t => 'release', claims => [map { { job => $_->{job}, token => $_->{token} } } @left]) if @left;
}

sub start ($claim, @command) {    # the command's standard streams are files without names
    open $_, '+>:raw', undef or die "no temporary file: $!\n" for $claim->@{qw(input output errors)};
    $claim->{input}->print($claim->{payload} ? $claim->{payload}->$* : '');
    seek $claim->{input}, 0, 0;
    return setpgrp($claim->{pid}, 0) if $claim->{pid} = fork // die "no process: $!\n";
    setpgrp;    # a group of its own, as for the parent above: Ctrl-C does not reach it, and the end of a job all of it
    open STDIN, '<&', $claim->{input} and open STDOUT, '>&', $claim->{output} and open STDERR, '>&', $claim->{errors}
        and exec { $command[0] } @command;    # which comes back only where it can not be started
    POSIX::_exit(127);
}

sub finish ($claim, $status) {
    my ($output, $errors) = map { seek $_, 0, 0; local $/; readline($_) // '' } $claim->@{qw(output errors)};
    my $type = $status & 127 ? 'signal ' . ($status & 127) : $status ? 'exit status ' . ($status >> 8) : '';
    $type = 'too_large' if length $output > $broker->{limits}{result_bytes};
    my %error = (type => $type, message => substr Encode::decode('UTF-8', $errors), -1024);
    my %end = (job => $claim->{job}, token => $claim->{token}, $type ? (error => \%error) : (result => \$output));
    my (undef, $refused) = $broker->request(t => $type ? 'fail' : 'complete', jobs => [\%end]);
    die show($refused) if $refused && $refused->{code} !~ /^(stale_claim|not_found)$/;    # those: it is not ours any more
}

my %COMMANDS = (run => \&run, handle => \&handle, create => sub { say create(@_) });
$COMMANDS{$command}->(Encode::decode('UTF-8', $type), @rest);
$broker->request(t => 'bye');
