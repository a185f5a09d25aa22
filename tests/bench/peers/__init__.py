"""What people would build otherwise, on the same events, broker and engine, each as its documentation recommends.

They are programs, run by the interpreter that has their libraries; settings come in BENCH_* variables.
"""
