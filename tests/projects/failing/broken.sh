echo "there is no such compiler"
exit 3
