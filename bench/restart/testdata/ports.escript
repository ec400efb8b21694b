#!/usr/bin/env escript
%% Processes as ports under an OTP supervisor: FIFO COUNT
-mode(compile).
-export([init/1, start_link/2, port/3]).

main([Fifo, Count]) ->
    {ok, _} = supervisor:start_link(?MODULE, {Fifo, list_to_integer(Count)}),
    receive stop -> ok end.

init({Fifo, Count}) ->
    Names = ["a" ++ integer_to_list(I) || I <- lists:seq(0, Count - 1)],
    Children = [#{id => N, start => {?MODULE, start_link, [N, Fifo]}, shutdown => brutal_kill} || N <- Names],
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1}, Children}}.

start_link(Name, Fifo) ->
    proc_lib:start_link(?MODULE, port, [self(), Name, Fifo]).

port(Parent, Name, Fifo) ->
    Script = "echo $0 $$ >\"$1\"; exec sleep 1000",
    P = open_port({spawn_executable, "/bin/sh"}, [exit_status, {args, ["-c", Script, Name, Fifo]}]),
    proc_lib:init_ack(Parent, {ok, self()}),
    receive {P, {exit_status, Status}} -> exit({ended, Status}) end.
