"""The catalogue of faults: one file each."""

from relay.fault import Fault
from relay.faults.answer_delay import answer_delay
from relay.faults.answer_early import answer_early
from relay.faults.answer_endless import answer_endless
from relay.faults.answer_garbage import answer_garbage
from relay.faults.answer_interim import answer_interim
from relay.faults.answer_joined import answer_joined
from relay.faults.answer_length import answer_length
from relay.faults.answer_login_loop import answer_login_loop
from relay.faults.answer_page import answer_page
from relay.faults.answer_portal import answer_portal
from relay.faults.answer_reset import answer_reset
from relay.faults.answer_silence import answer_silence
from relay.faults.answer_split import answer_split
from relay.faults.bandwidth import bandwidth
from relay.faults.black_hole import black_hole
from relay.faults.buffering import buffering
from relay.faults.corrupt import corrupt
from relay.faults.drop_early import drop_early
from relay.faults.duplicate import duplicate
from relay.faults.fin import fin
from relay.faults.idle_timeout import idle_timeout
from relay.faults.inspect import inspect
from relay.faults.latency import latency
from relay.faults.lifetime import lifetime
from relay.faults.limit_data import limit_data
from relay.faults.lost_half_close import lost_half_close
from relay.faults.no_half_close import no_half_close
from relay.faults.refuse import refuse
from relay.faults.reset import reset
from relay.faults.reset_as_fin import reset_as_fin
from relay.faults.slicer import slicer
from relay.faults.slow_close import slow_close

FAULTS: dict[str, Fault] = {
    each.name: each
    for each in (
        answer_delay,
        answer_early,
        answer_endless,
        answer_garbage,
        answer_interim,
        answer_joined,
        answer_length,
        answer_login_loop,
        answer_page,
        answer_portal,
        answer_reset,
        answer_silence,
        answer_split,
        bandwidth,
        black_hole,
        buffering,
        corrupt,
        drop_early,
        duplicate,
        fin,
        idle_timeout,
        inspect,
        latency,
        lifetime,
        limit_data,
        lost_half_close,
        no_half_close,
        refuse,
        reset,
        reset_as_fin,
        slicer,
        slow_close,
    )
}
