"""A Modbus server on pymodbus, as an independent implementation to test our drivers against.

    pymodbus_server.py --port PORT    Modbus/TCP on 127.0.0.1; 0 takes a free port
    pymodbus_server.py --tls FOLDER   Modbus/TCP Security on a free port, with server.pem, server.key and, for
                                      the clients' certificates, ca.pem of a folder
    pymodbus_server.py --serial PATH  Modbus RTU on a serial port or pty

Prints `listening PORT` or `listening PATH` when it answers, and ends when its standard input
closes, so that it never outlives the test that started it.

Units 1, 2 and 3 have 1024 addresses in each table: holding registers `i`, input registers
`1000 + i`, coils on at even addresses, discrete inputs on at odd ones. Over the holding registers
lie the typed values of TYPED. Each unit keeps what is written to it. Another unit is answered with
exception 0B on TCP, as a gateway does, and with silence on the serial line, as an absent device is.
libmodbus_server.c serves the same values.
"""

import argparse
import asyncio
import ssl
import struct
import sys
import threading

from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

SIZE = 1024
UNITS = (1, 2, 3)

FLOAT = struct.pack(">f", 3.5)
TYPED = {
    100: FLOAT,  # float32 ABCD
    102: FLOAT[2:] + FLOAT[:2],  # CDAB
    104: bytes((FLOAT[1], FLOAT[0], FLOAT[3], FLOAT[2])),  # BADC
    106: FLOAT[::-1],  # DCBA
    110: b"BIFROST\0",  # string, 4 registers
    120: struct.pack(">q", -2),  # int64 ABCD
}


def holding_registers() -> list[int]:
    registers = list(range(SIZE))
    for address, octets in TYPED.items():
        words = struct.unpack(f">{len(octets) // 2}H", octets)
        registers[address : address + len(words)] = words
    return registers


def unit(number: int, action=None) -> SimDevice:
    return SimDevice(
        id=number,
        simdata=(
            [SimData(0, values=[i % 2 == 0 for i in range(SIZE)], datatype=DataType.BITS)],
            [SimData(0, values=[i % 2 == 1 for i in range(SIZE)], datatype=DataType.BITS)],
            [SimData(0, values=holding_registers(), datatype=DataType.REGISTERS)],
            [SimData(0, values=[1000 + i for i in range(SIZE)], datatype=DataType.REGISTERS)],
        ),
        action=action,
    )


async def absent(*_request) -> None:
    raise NoSuchIdException("no such unit")


def call_at_end_of_input(loop: asyncio.AbstractEventLoop, callback) -> None:
    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(callback)

    threading.Thread(target=wait, daemon=True).start()


async def serve(arguments: argparse.Namespace) -> None:
    # To pymodbus, device 0 stands for every unit that isn't listed.
    units = [unit(0, absent), *(unit(number) for number in UNITS)]
    if arguments.serial:
        server = ModbusSerialServer(units, port=arguments.serial, ignore_missing_devices=True)
    elif arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(f"{arguments.tls}/server.pem", f"{arguments.tls}/server.key")
        context.load_verify_locations(f"{arguments.tls}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        server = ModbusTlsServer(units, framer=FramerType.TLS, address=("127.0.0.1", 0), sslctx=context)
    else:
        server = ModbusTcpServer(units, address=("127.0.0.1", arguments.port))
    await server.serve_forever(background=True)
    where = arguments.serial or server.transport.sockets[0].getsockname()[1]
    print("listening", where, flush=True)

    ended = asyncio.Event()
    call_at_end_of_input(asyncio.get_running_loop(), ended.set)
    await ended.wait()
    await server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description="Modbus server on pymodbus for the tests")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="TCP port on 127.0.0.1, 0 for a free one")
    where.add_argument("--tls", metavar="FOLDER", help="Modbus/TCP Security with the certificates of a folder")
    where.add_argument("--serial", metavar="PATH", help="serial port for RTU, 19200 8N1")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
